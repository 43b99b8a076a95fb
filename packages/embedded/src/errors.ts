/** Why an embedded server could not be started or used. */
export type EmbeddedReason =
  /** npm has no PostgreSQL for this platform, or the optional package was left out of the installation. */
  | "BINARIES_MISSING"
  /** The running user may not enter a folder on the way to the binaries or to the data. */
  | "FOLDER_UNREACHABLE"
  /** A live process already runs a server on this data folder. */
  | "ALREADY_RUNNING"
  /** The data folder was written by another major version of PostgreSQL. */
  | "VERSION_MISMATCH"
  /** A data folder exists, but the file with its superuser password does not. */
  | "PASSWORD_MISSING"
  /** The server ended, or did not become ready in time; the message carries its last lines. */
  | "START_FAILED"
  /** The Debian package with the server's binary is not installed. */
  | "PACKAGE_MISSING";

/** The one error that this package throws. The message names the folder, package or port; never a password. */
export class EmbeddedError extends Error {
  readonly reason: EmbeddedReason;

  constructor(reason: EmbeddedReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "EmbeddedError";
    this.reason = reason;
  }
}
