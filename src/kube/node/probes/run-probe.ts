import type { PodRuntime } from "#api/pod-runtime.ts";
import { GantryError, errorMessage, hasCode } from "#base/errors.ts";
import type { Container, HTTPGetAction, Probe } from "../pod-types.ts";
import { grpcHealth } from "./grpc-health.ts";
import { httpGet } from "./http-get.ts";
import { tcpConnect } from "./tcp-connect.ts";

export type ProbeOutcome =
  | { result: "success" | "warning" | "failure"; output: string }
  /** The probe itself could not be made: says nothing about the container. */
  | { result: "error"; output: string };

const maxOutput = 10 * 1024;

/** A port by number or by name among the container's. Throws `invalid`. */
export function portNumber(port: number | string, container: Container): number {
  const number =
    typeof port === "number"
      ? port
      : /^\d+$/.test(port)
        ? Number(port)
        : container.ports?.find(({ name }) => name === port)?.containerPort;
  if (number === undefined) throw new GantryError("invalid", `couldn't find port: ${JSON.stringify(port)}`);
  if (number < 1 || number > 65535) throw new GantryError("invalid", `invalid port number: ${number}`);
  return number;
}

/** The target of an httpGet of a probe or a hook. */
export function httpTarget(
  action: HTTPGetAction,
  container: Container,
  podIp: string,
): { scheme: "http" | "https"; host: string; port: number; path: string; headers: { name: string; value: string }[] } {
  return {
    scheme: (action.scheme ?? "HTTP").toLowerCase() === "https" ? "https" : "http",
    host: action.host || podIp,
    port: portNumber(action.port, container),
    path: action.path || "/",
    headers: action.httpHeaders ?? [],
  };
}

/** Makes one probe. Never throws. */
export async function runProbe(
  runtime: PodRuntime,
  probe: Probe,
  container: Container,
  containerId: string,
  podIp: string,
): Promise<ProbeOutcome> {
  const seconds = probe.timeoutSeconds ?? 1;
  const timeoutMs = seconds * 1000;
  try {
    if (probe.exec !== undefined) return await execProbe(runtime, containerId, probe.exec.command ?? [], seconds);
    if (probe.httpGet !== undefined) return await httpProbe(probe.httpGet, container, podIp, timeoutMs);
    if (probe.tcpSocket !== undefined) {
      const failure = await tcpConnect(
        probe.tcpSocket.host || podIp,
        portNumber(probe.tcpSocket.port, container),
        timeoutMs,
      );
      return failure === undefined ? { result: "success", output: "" } : { result: "failure", output: failure };
    }
    if (probe.grpc !== undefined) {
      const failure = await grpcHealth(podIp, probe.grpc.port, probe.grpc.service ?? "", timeoutMs);
      return failure === undefined ? { result: "success", output: "" } : { result: "failure", output: failure };
    }
    return { result: "error", output: `missing probe handler for ${container.name}` };
  } catch (error) {
    return { result: "error", output: errorMessage(error) };
  }
}

async function execProbe(runtime: PodRuntime, id: string, command: string[], seconds: number): Promise<ProbeOutcome> {
  try {
    const { exitCode, stdout, stderr } = await runtime.execSync(id, command, seconds);
    const output = Buffer.concat([stdout, stderr]).subarray(0, maxOutput).toString("utf8");
    return { result: exitCode === 0 ? "success" : "failure", output };
  } catch (error) {
    if (hasCode(error, "timeout")) {
      return { result: "failure", output: `command timed out: "${command.join(" ")}" timed out after ${seconds}s` };
    }
    throw error;
  }
}

async function httpProbe(
  action: HTTPGetAction,
  container: Container,
  podIp: string,
  timeoutMs: number,
): Promise<ProbeOutcome> {
  const target = httpTarget(action, container, podIp);
  const outcome = await httpGet({ ...target, timeoutMs, userAgent: "kube-probe/1.36" });
  if ("error" in outcome) return { result: "failure", output: outcome.error };
  if ("redirectedTo" in outcome) {
    return { result: "warning", output: `Probe terminated redirects, Response body: ${outcome.redirectedTo}` };
  }
  if (outcome.status >= 200 && outcome.status < 400) return { result: "success", output: outcome.body };
  return { result: "failure", output: `HTTP probe failed with statuscode: ${outcome.status}` };
}
