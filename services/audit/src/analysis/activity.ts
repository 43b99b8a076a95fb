import { dayOf, hourOf } from "./china-time.ts";

/** What the analysis is told of an entry. */
export interface Observed {
  readonly timeMs: number;
  readonly type: string;
  readonly outcome: string;
  readonly actor: string;
  readonly subject: string;
  readonly purpose: string;
  /** A keyed pseudonym of the network, for sign-ins; the empty text where none is known. */
  readonly network: string;
}

/** What somebody did on a day: a summary of bounded size, whatever he did. */
export interface Activity {
  /** Acts in each hour of the day. */
  readonly acts: readonly number[];
  /** Acts that only operators can do. */
  readonly privileged: readonly number[];
  /** Registrations that were confirmed. */
  readonly approvals: readonly number[];
  readonly refused: number;
  /** About whom something was refused; at most 200 are kept. */
  readonly refusedSubjects: readonly string[];
  /** Reads of personal records without a purpose. */
  readonly purposeless: number;
  /** Sign-ins with a known network, in order of time; at most 200 are kept. */
  readonly signIns: readonly SignIn[];
}

export interface SignIn {
  readonly timeMs: number;
  readonly network: string;
}

export interface ActorDay {
  readonly actor: string;
  /** Of China Standard Time, since 1970. */
  readonly day: number;
  readonly activity: Activity;
}

/** How many events of one kind a day had. */
export interface DayCount {
  readonly day: number;
  readonly type: string;
  /** How somebody signed in; the empty text for anything else. */
  readonly method: string;
  readonly outcome: string;
  readonly count: number;
}

const KEPT_MAX = 200;
const HOURS = 24;
/** What services do on their own is no user's operation. */
const SERVICES: ReadonlySet<string> = new Set(["", "anonymous", "auth", "registry", "trust-gateway", "audit"]);
export const SIGN_IN_TYPES: ReadonlySet<string> = new Set(["session.started", "session.renewed", "session.refused"]);
const APPROVAL_TYPES: ReadonlySet<string> = new Set(["registration.confirmed"]);
const PRIVILEGED =
  /^(application|bulk-read|case|counter|document|enrolment|entries|entry|incident|operator|report|source)\.|^registration\.(confirmed|rejected)$/;
/** Reads that have to say why. */
const NEEDS_PURPOSE: ReadonlySet<string> = new Set([
  "entries.listed",
  "entry.read",
  "incident.evidence-packed",
  "incident.evidence-read",
  "incident.radius-read",
  "report.read",
]);

/** Who acted: of a refused sign-in nobody is known but the network. Undefined for what no user did. */
export function actorOf({ actor, type, network }: Observed): string | undefined {
  if (type === "session.refused" && network !== "") return `network:${network}`;
  return SERVICES.has(actor) ? undefined : actor;
}

/** The activity that some entries of one actor on one day are. */
export function activityOf(entries: readonly Observed[]): Activity {
  const inHours = (counts: (entry: Observed) => boolean): number[] => {
    const hours = Array.from({ length: HOURS }, () => 0);
    for (const entry of entries) {
      const hour = hourOf(entry.timeMs);
      if (counts(entry)) hours[hour] = (hours[hour] ?? 0) + 1;
    }
    return hours;
  };
  const refused = entries.filter(({ outcome }) => outcome === "REFUSED");
  const done = entries.filter(({ outcome }) => outcome !== "REFUSED");
  return {
    acts: inHours(() => true),
    privileged: inHours(({ type }) => PRIVILEGED.test(type)),
    approvals: inHours(({ type, outcome }) => APPROVAL_TYPES.has(type) && outcome === "SUCCESS"),
    refused: refused.length,
    refusedSubjects: distinct(refused.map(({ subject }) => subject).filter((subject) => subject !== "")),
    purposeless: entries.filter(
      ({ type, outcome, purpose }) => NEEDS_PURPOSE.has(type) && outcome === "SUCCESS" && purpose === "",
    ).length,
    signIns: inOrder(
      done
        .filter(({ type, network }) => SIGN_IN_TYPES.has(type) && network !== "")
        .map(({ timeMs, network }) => ({ timeMs, network })),
    ),
  };
}

/** Both together. Associative, and the order does not matter as long as nothing is cut off. */
export function mergeActivity(a: Activity, b: Activity): Activity {
  const sum = (x: readonly number[], y: readonly number[]): number[] => x.map((count, hour) => count + (y[hour] ?? 0));
  return {
    acts: sum(a.acts, b.acts),
    privileged: sum(a.privileged, b.privileged),
    approvals: sum(a.approvals, b.approvals),
    refused: a.refused + b.refused,
    refusedSubjects: distinct([...a.refusedSubjects, ...b.refusedSubjects]),
    purposeless: a.purposeless + b.purposeless,
    signIns: inOrder([...a.signIns, ...b.signIns]),
  };
}

function distinct(subjects: readonly string[]): string[] {
  return [...new Set(subjects)].slice(0, KEPT_MAX);
}

function inOrder(signIns: readonly SignIn[]): SignIn[] {
  return signIns.toSorted((a, b) => a.timeMs - b.timeMs).slice(0, KEPT_MAX);
}

/** What each actor did on each day, of any number of entries. */
export function summariseActivity(entries: readonly Observed[]): ActorDay[] {
  const ofUsers = entries.flatMap((entry) => {
    const actor = actorOf(entry);
    return actor === undefined ? [] : [{ actor, day: dayOf(entry.timeMs), entry }];
  });
  const groups = Map.groupBy(ofUsers, ({ actor, day }) => `${day} ${actor}`);
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined) return [];
    const { actor, day } = first;
    return [{ actor, day, activity: activityOf(group.map(({ entry }) => entry)) }];
  });
}
