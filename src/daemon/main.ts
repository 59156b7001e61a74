import { readFileSync } from "node:fs";
import { writeSync } from "node:fs";
import { GantryError, errorChain } from "#base/errors.ts";
import { type Logger, type LogLevel, createLogger } from "#base/log.ts";
import { removePidFile, writePidFile } from "./daemon-process.ts";
import type { InstanceConfig } from "./instance-config.ts";
import { type DaemonName, daemonNames } from "./instance-paths.ts";

/** What a composition gives back: how to end it. */
export interface RunningDaemon {
  /** Stops everything the process owns; containers go on. */
  stop(): Promise<void>;
  /** SIGHUP: reads the configuration again. */
  reload?(): Promise<void>;
}

function readArguments(argv: readonly string[]): { name: DaemonName; config: InstanceConfig } {
  const [name, flag, path] = argv;
  if (!daemonNames.includes(name as DaemonName) || flag !== "--config" || path === undefined) {
    throw new GantryError("invalid", "Usage: gantryd control|node --config INSTANCE.JSON. `gantry up` starts it so.");
  }
  return { name: name as DaemonName, config: JSON.parse(readFileSync(path, "utf8")) as InstanceConfig };
}

function environmentLogLevel(): LogLevel | undefined {
  const level = process.env["GANTRY_LOG_LEVEL"];
  return level === "debug" || level === "info" || level === "warn" || level === "error" ? level : undefined;
}

async function compose(
  name: DaemonName,
  config: InstanceConfig,
  log: Logger,
  setLogLevel: (level: LogLevel) => void,
): Promise<RunningDaemon> {
  if (name === "control") return (await import("./control.ts")).startControl(config, log);
  return (await import("./node.ts")).startNode(config, log, setLogLevel);
}

/** The log lies on the same disk as the rest: when that is full, lines are lost, and nothing else is. */
function writeLogLine(line: string): void {
  try {
    writeSync(1, line);
  } catch {
    // There is nowhere to say it.
  }
}

async function main(): Promise<void> {
  const { name, config } = readArguments(process.argv.slice(2));
  process.title = `gantryd ${name} ${config.name}`;
  // The environment's word counts more than the configuration's.
  const fixedLevel = environmentLogLevel();
  let level = fixedLevel ?? "info";
  const log = createLogger({ level: () => level, fields: { process: name }, write: writeLogLine });
  const started = performance.now();
  writePidFile(config, name);
  let daemon: RunningDaemon | undefined;
  let stopping = false;
  const stop = async (signal: string): Promise<void> => {
    if (stopping) return;
    stopping = true;
    log.info("Stopping.", { signal });
    try {
      await daemon?.stop();
    } catch (error) {
      log.error("The process could not stop cleanly.", { error: errorChain(error) });
      process.exitCode = 1;
    }
    removePidFile(config, name);
    log.info("Stopped.");
    process.exit();
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => void stop(signal));
  process.on("SIGHUP", () => {
    daemon?.reload?.().catch((error: unknown) => {
      log.error("The configuration was not reloaded; all stays as it was.", { error: errorChain(error) });
    });
  });
  process.on("unhandledRejection", (error) =>
    log.error("A promise was rejected and nobody listened.", {
      error: errorChain(error),
      stack: (error as Error)?.stack,
    }),
  );
  process.on("uncaughtException", (error) => {
    log.error("An error was thrown where nobody could catch it; the process ends.", {
      error: errorChain(error),
      stack: error.stack,
    });
    process.exit(1);
  });
  try {
    daemon = await compose(name, config, log, (wanted) => (level = fixedLevel ?? wanted));
    log.info("Started.", { ms: Math.round(performance.now() - started), pid: process.pid });
  } catch (error) {
    log.error("The process could not start.", { error: errorChain(error), stack: (error as Error).stack });
    removePidFile(config, name);
    process.exit(1);
  }
}

await main();
