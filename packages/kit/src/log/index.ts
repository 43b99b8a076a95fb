export { type LoggableError, loggableError } from "./loggable-error.ts";
export { createLogger, type Logger, type LoggerOptions } from "./logger.ts";
export { type Loggable, type LoggableMessage, REDACTED, redact } from "./redact.ts";
