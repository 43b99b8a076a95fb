/** What the sandbox needs of a logger; pino is one. Fields are counts, source ids and bizSeq only, never elements. */
export type Log = {
  info(fields: Readonly<Record<string, string | number>>, message: string): void;
  error(fields: Readonly<Record<string, string | number>>, message: string): void;
};

export const silentLog: Log = { info: () => {}, error: () => {} };
