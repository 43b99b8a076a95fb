/** What the detectors go by. A version that a report was made with is never changed: a new one is added. */
export interface Thresholds {
  /** Acts within an hour: at least so many, and so many times the actor's own median hour of the days before. */
  readonly burst: {
    readonly actsMin: number;
    readonly timesMedian: number;
    /** Active hours before that make a median worth comparing with; with fewer, `actsWithoutPast` decides. */
    readonly pastHours: number;
    readonly actsWithoutPast: number;
    readonly pastDays: number;
  };
  /** Privileged acts from `fromHour` to `untilHour`, unless that is when the actor usually works. */
  readonly oddHours: {
    readonly fromHour: number;
    readonly untilHour: number;
    readonly actsMin: number;
    readonly usualShare: number;
  };
  /** Sign-ins from so many networks within so many minutes. */
  readonly travel: { readonly networks: number; readonly withinMinutes: number };
  /** Refusals on one day: about so many subjects; or so many of all acts, and that share. */
  readonly enumeration: { readonly subjects: number; readonly refused: number; readonly share: number };
  /** Acts on the first day after so many days without any. */
  readonly dormant: { readonly days: number; readonly acts: number; readonly privileged: number };
  /** Reads without a purpose on one day. */
  readonly purposeless: { readonly reads: number };
  /** Registrations confirmed within an hour: each takes a look at a person. */
  readonly bulkApproval: { readonly perHour: number };
}

export const thresholds = {
  1: {
    burst: { actsMin: 60, timesMedian: 8, pastHours: 10, actsWithoutPast: 2_000, pastDays: 28 },
    oddHours: { fromHour: 23, untilHour: 5, actsMin: 3, usualShare: 0.2 },
    travel: { networks: 3, withinMinutes: 15 },
    enumeration: { subjects: 20, refused: 100, share: 0.5 },
    dormant: { days: 60, acts: 20, privileged: 5 },
    purposeless: { reads: 1 },
    bulkApproval: { perHour: 30 },
  },
} as const satisfies Readonly<Record<number, Thresholds>>;

export const THRESHOLDS_VERSION = 1;
