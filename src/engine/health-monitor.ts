import type { ContainerRuntimePort } from "#api/container-runtime.ts";
import type { HealthConfig, HealthStatus } from "#api/docker/container-types.ts";
import type { Clock } from "#base/clock.ts";
import { errorMessage } from "#base/errors.ts";
import type { TaskGroup } from "#base/task-group.ts";
import type { Container } from "./container.ts";
import { execPlan } from "./exec-plan.ts";
import { goDuration, parseTime, rfc3339 } from "./timestamps.ts";

export interface HealthMonitorParts {
  clock: Clock;
  tasks: TaskGroup;
  runtime: ContainerRuntimePort;
  rootfs: () => string;
  /** After every probe; `status` is set when it changed. */
  onChange: (status: HealthStatus | undefined) => Promise<void>;
  onExec: (action: string, more: Record<string, string>) => void;
}

const keptResults = 5;
const maxOutput = 4096;
const nanoseconds = 1e6;
const defaults = { intervalMs: 30_000, timeoutMs: 30_000, startPeriodMs: 0, startIntervalMs: 5_000, retries: 3 };

/** Runs a container's health check (moby, daemon/health.go) from its start to its end. */
export class HealthMonitor {
  readonly #abort = new AbortController();

  /** Undefined when the container has none. */
  static for(container: Container, isNewStart: boolean, parts: HealthMonitorParts): HealthMonitor | undefined {
    const config = container.record.Config.Healthcheck;
    const kind = config?.Test?.[0];
    if (config === undefined || kind === undefined || kind === "NONE" || kind === "") return undefined;
    const before = container.state.Health;
    if (before === undefined || before.Status === "none") {
      container.state.Health = { Status: "starting", FailingStreak: 0, Log: [] };
    } else if (isNewStart) {
      // What the probes before said stays to be read.
      container.state.Health = { Status: "starting", FailingStreak: 0, Log: before.Log ?? [] };
    }
    const monitor = new HealthMonitor();
    parts.tasks.run(`health of ${container.id.slice(0, 12)}`, (signal) =>
      monitor.#run(container, config, parts, AbortSignal.any([signal, monitor.#abort.signal])),
    );
    return monitor;
  }

  stop(): void {
    this.#abort.abort();
  }

  async #run(
    container: Container,
    config: HealthConfig,
    parts: HealthMonitorParts,
    signal: AbortSignal,
  ): Promise<void> {
    const ms = (value: number | undefined, fallback: number): number => (value ? value / nanoseconds : fallback);
    const interval = ms(config.Interval, defaults.intervalMs);
    const startPeriod = ms(config.StartPeriod, defaults.startPeriodMs);
    const startInterval = ms(config.StartInterval, defaults.startIntervalMs);
    while (!signal.aborted) {
      const age = parts.clock.now() - parseTime(container.state.StartedAt);
      const isStarting = container.state.Health?.Status === "starting" && age < startPeriod;
      try {
        await parts.clock.sleep(isStarting ? Math.min(startInterval, interval) : interval, signal);
      } catch {
        return;
      }
      if (container.state.Paused) continue;
      await this.#probe(container, config, parts, startPeriod, signal);
    }
  }

  async #probe(
    container: Container,
    config: HealthConfig,
    parts: HealthMonitorParts,
    startPeriod: number,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock } = parts;
    const timeoutMs = config.Timeout ? config.Timeout / nanoseconds : defaults.timeoutMs;
    const start = clock.now();
    const result = await runProbe(container, config, parts, timeoutMs, signal);
    const health = container.state.Health;
    if (signal.aborted || health === undefined) return;
    const log = health.Log ?? [];
    log.push({ Start: rfc3339(start), End: rfc3339(clock.now()), ExitCode: result.exitCode, Output: result.output });
    health.Log = log.slice(-keptResults);
    const before = health.Status;
    if (result.exitCode === 0) {
      health.FailingStreak = 0;
      health.Status = "healthy";
    } else {
      const isForgiven = before === "starting" && start - parseTime(container.state.StartedAt) < startPeriod;
      if (!isForgiven) health.FailingStreak++;
      if (health.FailingStreak >= (config.Retries || defaults.retries)) health.Status = "unhealthy";
    }
    await parts.onChange(health.Status === before ? undefined : health.Status);
  }
}

async function runProbe(
  container: Container,
  config: HealthConfig,
  parts: HealthMonitorParts,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<{ exitCode: number; output: string }> {
  const [kind, ...rest] = config.Test ?? [];
  const shell = container.record.Config.Shell ?? ["/bin/sh", "-c"];
  const command = kind === "CMD-SHELL" ? [...shell, ...rest] : rest;
  try {
    const plan = execPlan(container, parts.rootfs(), { Cmd: command });
    const result = await parts.runtime.execSync(container.id, plan, { timeoutMs, signal });
    const text = Buffer.concat([result.stdout, result.stderr]).toString();
    return { exitCode: result.code, output: text.length > maxOutput ? `${text.slice(0, maxOutput)}...` : text };
  } catch (error) {
    const isTimeout = (error as { code?: string }).code === "timeout";
    return {
      exitCode: -1,
      output: isTimeout ? `Health check exceeded timeout (${goDuration(timeoutMs)})` : errorMessage(error),
    };
  }
}
