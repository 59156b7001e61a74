import type { PodRuntime } from "#api/pod-runtime.ts";
import type { Clock } from "#base/clock.ts";
import { GantryError } from "#base/errors.ts";
import type { Container, LifecycleHandler } from "./pod-types.ts";
import { httpGet } from "./probes/http-get.ts";
import { httpTarget } from "./probes/run-probe.ts";

/**
 * Runs a postStart or preStop handler to its end. Throws when it fails, `timeout` when it takes longer than
 * `timeoutMs`.
 */
export async function runHook(
  runtime: PodRuntime,
  clock: Clock,
  handler: LifecycleHandler,
  container: Container,
  containerId: string,
  podIp: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<void> {
  if (handler.exec !== undefined) {
    const command = handler.exec.command ?? [];
    const { exitCode, stdout, stderr } = await runtime.execSync(
      containerId,
      command,
      Math.max(1, Math.ceil(timeoutMs / 1000)),
    );
    if (exitCode !== 0) {
      const output = Buffer.concat([stdout, stderr]).toString("utf8").slice(0, 1024);
      throw new GantryError("internal", `command '${command.join(" ")}' exited with ${exitCode}: ${output}`);
    }
    return;
  }
  if (handler.httpGet !== undefined) {
    const outcome = await httpGet({
      ...httpTarget(handler.httpGet, container, podIp),
      timeoutMs,
      userAgent: "kube-lifecycle/1.36",
    });
    if ("error" in outcome) throw new GantryError("internal", outcome.error);
    return;
  }
  if (handler.sleep !== undefined) {
    await clock.sleep(Math.min(handler.sleep.seconds * 1000, timeoutMs), signal);
    return;
  }
  throw new GantryError("invalid", "invalid handler: a lifecycle hook needs exec, httpGet or sleep");
}
