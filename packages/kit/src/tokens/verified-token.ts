/** The roles that somebody may have in the organisation they act for: 法人, 管理员, 办事人. */
export const organisationRoles = ["LEGAL_REPRESENTATIVE", "ADMINISTRATOR", "CLERK"] as const;
export type OrganisationRole = (typeof organisationRoles)[number];

/** What an access token of auth says, once every check has passed. The claims are listed in docs/design.md. */
export interface VerifiedToken {
  /** Account id, operator id, or (client credentials) the client id. */
  readonly subject: string;
  readonly kind: "person" | "operator" | "application";
  readonly clientId: string;
  /** The application that the client belongs to. */
  readonly application: string | undefined;
  readonly scopes: ReadonlySet<string>;
  /** Real-name level 1–3 of a person; 0 for everybody else. */
  readonly level: number;
  /** The organisation acted for, and the role in it: both or neither. */
  readonly organisation?: string;
  readonly role?: OrganisationRole;
  readonly sessionId?: string;
  /** When and how the subject authenticated. */
  readonly authTimeMs?: number;
  readonly amr: readonly string[];
  readonly expiresAtMs: number;
  readonly issuedAtMs: number;
  /** The token as it came, to be handed on to the next service. Never logged. */
  readonly raw: string;
}
