/** One log line's severity. */
export type LogLevel = "debug" | "info" | "warn" | "error";

export type LogFields = Record<string, unknown>;

/** A fixed message, and data as keys. Nothing secret may be passed: there is no redaction to rely on. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger that adds `fields` to each of its lines. */
  with(fields: LogFields): Logger;
}

const ranks: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };

export interface LoggerOptions {
  /** A function where the level may change: it is asked for each line. */
  level?: LogLevel | (() => LogLevel);
  fields?: LogFields;
  /** Takes one finished line, newline included. */
  write: (line: string) => void;
  now?: () => number;
}

function encodeField(value: unknown): unknown {
  if (value instanceof Error) return value.message;
  if (typeof value === "bigint") return value.toString();
  return value;
}

/** A logger that writes one JSON object a line: `time`, `level`, `message`, then the fields. */
export function createLogger(options: LoggerOptions): Logger {
  const { write, fields = {}, level = "info", now = Date.now } = options;
  const emit = (at: LogLevel, message: string, more?: LogFields): void => {
    if (ranks[at] < ranks[typeof level === "function" ? level() : level]) return;
    const line: LogFields = { time: new Date(now()).toISOString(), level: at, message, ...fields };
    for (const key in more) line[key] = encodeField(more[key]);
    write(`${JSON.stringify(line)}\n`);
  };
  return {
    debug: (message, more) => emit("debug", message, more),
    info: (message, more) => emit("info", message, more),
    warn: (message, more) => emit("warn", message, more),
    error: (message, more) => emit("error", message, more),
    with: (more) => createLogger({ ...options, fields: { ...fields, ...more } }),
  };
}

/** Says nothing: for tests and for embedding. */
export const silentLogger: Logger = createLogger({ write: () => {}, level: "error" });
