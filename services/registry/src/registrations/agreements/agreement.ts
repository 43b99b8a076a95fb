/** The texts that a registration accepts, as they were published. */
export interface AgreementText {
  /** For example "2026-01". */
  readonly version: string;
  readonly noticeVersion: string;
  /** ISO 8601. In force until the next version's. */
  readonly inForceFrom: string;
  /** The binding text. */
  readonly textZh: string;
  readonly textEn: string;
  readonly noticeZh: string;
  readonly noticeEn: string;
}
