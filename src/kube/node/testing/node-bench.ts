import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ref } from "#api/kube/object.ts";
import { silentLogger } from "#base/log.ts";
import type { CoreEvent } from "#control/event-recorder.ts";
import { type NodeAgent, type NodeAgentParts, createNodeAgent } from "../node-agent.ts";
import type { Pod, PodSpec } from "../pod-types.ts";
import type { NodeMounts } from "../volumes/volume-store.ts";
import { FakeKube } from "./fake-kube.ts";
import { FakeRuntime } from "./fake-runtime.ts";

/** tmpfs stands as a plain folder: tests need no privileges. */
const plainMounts: NodeMounts = {
  mountTmpfs: () => {},
  unmount: () => {},
  isMountPoint: () => true,
};

/** A node agent over a fake API and a fake runtime. */
export class NodeBench {
  readonly kube = new FakeKube();
  readonly runtime = new FakeRuntime();
  readonly root = mkdtempSync(join(tmpdir(), "gantry-node-"));
  agent: NodeAgent;
  readonly #more: Partial<NodeAgentParts>;

  constructor(more: Partial<NodeAgentParts> = {}) {
    this.#more = more;
    this.agent = this.newAgent();
  }

  newAgent(): NodeAgent {
    return createNodeAgent(
      {
        nodeName: "node-1",
        nodeIp: "127.0.0.1",
        root: this.root,
        listen: { host: "127.0.0.1", port: 0 },
        tls: undefined as never,
        clusterDnsIp: "10.96.0.10",
        clusterDomain: "cluster.local",
      },
      { client: this.kube, runtime: this.runtime, log: silentLogger, mounts: plainMounts, ...this.#more },
    );
  }

  async stop(): Promise<void> {
    await this.agent.stop();
    rmSync(this.root, { recursive: true, force: true });
  }

  async createPod(name: string, spec: Partial<PodSpec>): Promise<Pod> {
    return this.kube.create<Pod>(ref("pods"), {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace: "default", uid: `uid-of-${name}` },
      spec: {
        nodeName: "node-1",
        restartPolicy: "Always",
        containers: [{ name: "web", image: "gantry/hello", imagePullPolicy: "IfNotPresent" }],
        ...spec,
      },
      status: { phase: "Pending" },
    });
  }

  pod(name: string): Pod | undefined {
    return this.kube.all<Pod>("pods").find((pod) => pod.metadata?.name === name);
  }

  /** `Reason: message` of all events of a pod, in order. */
  events(name: string): string[] {
    return this.kube
      .all<CoreEvent>("events")
      .filter((event) => event.involvedObject.name === name)
      .map((event) => `${event.reason}: ${event.message}`);
  }

  /** Waits until the check gives something true. Throws with the pod's status after the time. */
  async until<T>(check: () => T | undefined | false, ms = 5_000): Promise<T> {
    const deadline = performance.now() + ms;
    for (;;) {
      const value = check();
      if (value !== undefined && value !== false) return value;
      if (performance.now() > deadline) {
        const pods = this.kube.all<Pod>("pods").map(({ metadata, status }) => ({ name: metadata?.name, status }));
        throw new Error(
          `nothing after ${ms} ms; calls ${this.runtime.calls.join(", ")}; pods ${JSON.stringify(pods, null, 1)}`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  phase(name: string): string | undefined {
    return this.pod(name)?.status?.phase;
  }

  ready(name: string): boolean {
    return this.pod(name)?.status?.conditions?.find(({ type }) => type === "Ready")?.status === "True";
  }
}
