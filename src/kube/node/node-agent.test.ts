import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, it } from "node:test";
import { type KubeObject, ref } from "#api/kube/object.ts";
import { GantryError } from "#base/errors.ts";
import type { ConfigMap } from "./pod-types.ts";
import { NodeBench } from "./testing/node-bench.ts";

async function withBench(work: (bench: NodeBench) => Promise<void>): Promise<void> {
  const bench = new NodeBench();
  try {
    await bench.agent.start();
    await work(bench);
  } finally {
    await bench.stop();
  }
}

const hello = { image: "gantry/hello", imagePullPolicy: "IfNotPresent" } as const;

describe("node agent", () => {
  it("registers the node, reports it Ready, and holds its lease", async () => {
    await withBench(async (bench) => {
      await bench.agent.registered;
      const [node] = bench.kube.all<
        KubeObject & {
          status: { conditions: { type: string; status: string; reason: string }[]; nodeInfo: Record<string, string> };
        }
      >("nodes");
      const ready = node?.status.conditions.find(({ type }) => type === "Ready");
      assert.deepEqual([ready?.status, ready?.reason], ["True", "KubeletReady"]);
      assert.equal(node?.status.nodeInfo.containerRuntimeVersion, "gantry://0.1.0");
      await bench.until(() => bench.kube.all("leases")[0]);
    });
  });

  it("brings a pod to Ready, with the events that kubectl describe shows", async () => {
    await withBench(async (bench) => {
      await bench.createPod("web", {});
      await bench.until(() => bench.ready("web"));
      const status = bench.pod("web")?.status;
      assert.equal(status?.phase, "Running");
      assert.equal(status?.podIP, "127.0.0.1");
      assert.equal(status?.qosClass, "BestEffort");
      const container = status?.containerStatuses?.[0];
      assert.equal(container?.ready, true);
      assert.match(container?.containerID ?? "", /^gantry:\/\//);
      await bench.until(() => bench.events("web").length >= 3);
      assert.deepEqual(bench.events("web"), [
        'Pulled: Container image "gantry/hello" already present on machine and can be accessed by the pod',
        "Created: Container created",
        "Started: Container started",
      ]);
    });
  });

  it("takes fifty pods to Ready in few seconds and few writes", async () => {
    await withBench(async (bench) => {
      const startedAt = performance.now();
      await Promise.all(Array.from({ length: 50 }, (_, index) => bench.createPod(`web-${index}`, {})));
      await bench.until(
        () => Array.from({ length: 50 }, (_, index) => bench.ready(`web-${index}`)).every(Boolean),
        10_000,
      );
      assert.ok(performance.now() - startedAt < 5_000);
      const patches = bench.kube.writes.filter((write) => write.startsWith("patch pods/")).length;
      assert.ok(patches <= 150, `${patches} status patches`);
    });
  });

  it("runs init containers in order before the others", async () => {
    await withBench(async (bench) => {
      bench.runtime.exits.set("one", [0]);
      bench.runtime.exits.set("two", [0]);
      await bench.createPod("web", {
        initContainers: [
          { name: "one", ...hello },
          { name: "two", ...hello },
        ],
      });
      await bench.until(() => bench.ready("web"));
      const starts = bench.runtime.calls.filter((call) => call.startsWith("start "));
      assert.deepEqual(starts, ["start one", "start two", "start web"]);
      assert.equal(bench.pod("web")?.status?.initContainerStatuses?.[0]?.state?.terminated?.reason, "Completed");
    });
  });

  it("keeps sidecars running beside, and stops them when the work is done", async () => {
    await withBench(async (bench) => {
      await bench.createPod("job", {
        restartPolicy: "Never",
        initContainers: [{ name: "side", ...hello, restartPolicy: "Always" }],
        containers: [{ name: "work", ...hello }],
      });
      const work = await bench.until(() => bench.runtime.running("work"));
      assert.ok(bench.runtime.running("side"));
      bench.runtime.exit(work.status.id, 0);
      await bench.until(() => bench.phase("job") === "Succeeded");
      assert.equal(bench.runtime.running("side"), undefined);
    });
  });

  it("restarts a container at once, then with back-off and CrashLoopBackOff", async () => {
    await withBench(async (bench) => {
      bench.runtime.exits.set("web", [1, 1]);
      await bench.createPod("web", {});
      const waiting = await bench.until(
        () =>
          bench.pod("web")?.status?.containerStatuses?.[0]?.state?.waiting?.reason === "CrashLoopBackOff" &&
          bench.pod("web")?.status?.containerStatuses?.[0],
      );
      assert.equal(waiting.restartCount, 1);
      assert.equal(
        waiting.state?.waiting?.message,
        "back-off 10s restarting failed container=web pod=web_default(uid-of-web)",
      );
      assert.equal(waiting.lastState?.terminated?.exitCode, 1);
      assert.equal(bench.phase("web"), "Running");
      await bench.until(() =>
        bench
          .events("web")
          .includes("BackOff: Back-off restarting failed container web in pod web_default(uid-of-web)"),
      );
    });
  });

  it("shows a container that cannot be started, and ends a pod that is not to be restarted", async () => {
    await withBench(async (bench) => {
      bench.runtime.failures.set("startContainer", new GantryError("internal", 'exec: "/nope": no such file'));
      await bench.createPod("job", { restartPolicy: "Never", containers: [{ name: "job", ...hello }] });
      await bench.until(() => bench.phase("job") === "Failed");
      const state = bench.pod("job")?.status?.containerStatuses?.[0]?.state?.terminated;
      assert.deepEqual(
        [state?.exitCode, state?.reason, state?.message],
        [128, "StartError", 'exec: "/nope": no such file'],
      );
      assert.ok(bench.events("job").includes('Failed: Error: exec: "/nope": no such file'));
    });
  });

  it("uses an image that was made on this machine although its policy is Always", async () => {
    await withBench(async (bench) => {
      await bench.createPod("web", { containers: [{ name: "web", image: "gantry/hello", imagePullPolicy: "Always" }] });
      await bench.until(() => bench.ready("web"));
      assert.ok(!bench.runtime.calls.some((call) => call.startsWith("pull")));
    });
  });

  it("ends a pod that is never restarted as Succeeded or Failed", async () => {
    await withBench(async (bench) => {
      bench.runtime.exits.set("good", [0]);
      bench.runtime.exits.set("bad", [3]);
      await bench.createPod("good", { restartPolicy: "Never", containers: [{ name: "good", ...hello }] });
      await bench.createPod("bad", { restartPolicy: "Never", containers: [{ name: "bad", ...hello }] });
      await bench.until(() => bench.phase("good") === "Succeeded" && bench.phase("bad") === "Failed");
      assert.equal(bench.pod("bad")?.status?.containerStatuses?.[0]?.state?.terminated?.exitCode, 3);
      assert.equal(bench.pod("good")?.status?.conditions?.find(({ type }) => type === "Ready")?.reason, "PodCompleted");
    });
  });

  it("says why an image cannot be had, and backs off", async () => {
    await withBench(async (bench) => {
      await bench.createPod("web", {
        containers: [{ name: "web", image: "nowhere/nothing:1", imagePullPolicy: "IfNotPresent" }],
      });
      const state = await bench.until(
        () =>
          bench.pod("web")?.status?.containerStatuses?.[0]?.state?.waiting?.reason === "ImagePullBackOff" &&
          bench.pod("web")?.status?.containerStatuses?.[0]?.state,
      );
      assert.equal(
        state.waiting?.message,
        'Back-off pulling image "nowhere/nothing:1": ErrImagePull: pull access denied for nowhere/nothing:1',
      );
      await bench.until(() => bench.events("web").length >= 5);
      assert.deepEqual(bench.events("web").slice(0, 5), [
        'Pulling: Pulling image "nowhere/nothing:1"',
        'Failed: Failed to pull image "nowhere/nothing:1": pull access denied for nowhere/nothing:1',
        "Failed: Error: ErrImagePull",
        'BackOff: Back-off pulling image "nowhere/nothing:1"',
        "Failed: Error: ImagePullBackOff",
      ]);
      assert.equal(bench.runtime.calls.filter((call) => call.startsWith("pull")).length, 1);
    });
  });

  it("refuses names that are no images, and images that may not be pulled", async () => {
    await withBench(async (bench) => {
      await bench.createPod("a", { containers: [{ name: "a", image: "Upper", imagePullPolicy: "Always" }] });
      await bench.createPod("b", { containers: [{ name: "b", image: "absent:1", imagePullPolicy: "Never" }] });
      const reason = (name: string): string | undefined =>
        bench.pod(name)?.status?.containerStatuses?.[0]?.state?.waiting?.reason;
      await bench.until(() => reason("a") === "InvalidImageName" && reason("b") === "ErrImageNeverPull");
    });
  });

  it("waits for a missing ConfigMap, and goes on when it comes", async () => {
    await withBench(async (bench) => {
      await bench.createPod("web", {
        containers: [
          {
            name: "web",
            ...hello,
            env: [{ name: "MODE", valueFrom: { configMapKeyRef: { name: "settings", key: "mode" } } }],
          },
        ],
      });
      const waiting = await bench.until(() => {
        const state = bench.pod("web")?.status?.containerStatuses?.[0]?.state?.waiting;
        return state?.reason === "CreateContainerConfigError" && state;
      });
      assert.equal(waiting.message, 'configmap "settings" not found');
      await bench.kube.create<ConfigMap>(ref("configmaps"), {
        metadata: { name: "settings", namespace: "default" },
        data: { mode: "fast" },
      });
      const container = await bench.until(() => bench.runtime.running("web"));
      assert.equal(container.config.env.find(({ name }) => name === "MODE")?.value, "fast");
    });
  });

  it("shows a ConfigMap as files, follows its changes, and takes them away with the pod", async () => {
    await withBench(async (bench) => {
      await bench.kube.create<ConfigMap>(ref("configmaps"), {
        metadata: { name: "settings", namespace: "default" },
        data: { mode: "fast" },
      });
      await bench.createPod("web", {
        volumes: [{ name: "settings", configMap: { name: "settings" } }],
        containers: [{ name: "web", ...hello, volumeMounts: [{ name: "settings", mountPath: "/etc/settings" }] }],
      });
      const container = await bench.until(() => bench.runtime.running("web"));
      const mount = container.config.mounts.find(({ containerPath }) => containerPath === "/etc/settings");
      const file = join(mount?.hostPath ?? "", "mode");
      assert.equal(readFileSync(file, "utf8"), "fast");
      assert.equal(mount?.readOnly, true);
      await bench.kube.patch(ref("configmaps"), "default", "settings", "application/merge-patch+json", {
        data: { mode: "slow", more: "1" },
      });
      await bench.until(() => readFileSync(file, "utf8") === "slow" && existsSync(join(mount?.hostPath ?? "", "more")));
      await bench.kube.delete(ref("pods"), "default", "web");
      await bench.until(() => bench.pod("web") === undefined);
      assert.equal(existsSync(join(bench.root, "pods", "uid-of-web")), false);
    });
  });

  it("keeps a pod with an unsupported volume in ContainerCreating and says why", async () => {
    await withBench(async (bench) => {
      await bench.createPod("web", { volumes: [{ name: "share", nfs: { server: "s", path: "/" } }] });
      await bench.until(() => bench.events("web").length > 0);
      assert.equal(
        bench.events("web")[0],
        'FailedMount: MountVolume.SetUp failed for volume "share" : volume type nfs is not supported on this node',
      );
      assert.equal(bench.pod("web")?.status?.containerStatuses?.[0]?.state?.waiting?.reason, "ContainerCreating");
      await bench.kube.delete(ref("pods"), "default", "web");
      await bench.until(() => bench.pod("web") === undefined);
    });
  });

  it("deletes gracefully: preStop, stop within the grace period, clean-up, then the object", async () => {
    await withBench(async (bench) => {
      await bench.createPod("web", {
        terminationGracePeriodSeconds: 7,
        containers: [{ name: "web", ...hello, lifecycle: { preStop: { exec: { command: ["/bye"] } } } }],
      });
      await bench.until(() => bench.ready("web"));
      await bench.kube.delete(ref("pods"), "default", "web");
      await bench.until(() => bench.pod("web") === undefined);
      await bench.until(() => bench.agent.pods().length === 0);
      const { calls } = bench.runtime;
      assert.deepEqual(calls.slice(calls.indexOf("exec /bye")), [
        "exec /bye",
        "stop web 7",
        "stop-sandbox",
        "remove-sandbox",
      ]);
      assert.ok(bench.events("web").includes("Killing: Stopping container web"));
      assert.equal(bench.runtime.sandboxes.size, 0);
      await bench.until(() => bench.agent.pods().length === 0);
    });
  });

  it("hurries when the grace period is cut short by a forced deletion", async () => {
    await withBench(async (bench) => {
      bench.runtime.stopMs = 20_000;
      await bench.createPod("web", {});
      await bench.until(() => bench.ready("web"));
      await bench.kube.delete(ref("pods"), "default", "web");
      await bench.until(() => bench.runtime.calls.includes("stop web 30"));
      await bench.kube.delete(ref("pods"), "default", "web", { gracePeriodSeconds: 0 });
      await bench.until(() => bench.runtime.calls.includes("stop web 1"));
      await bench.until(() => bench.runtime.running("web") === undefined, 3_000);
    });
  });

  it("is not ready until its readiness probe says so, and tells of failures", async () => {
    await withBench(async (bench) => {
      let code = 500;
      const server = createServer((_, response) => response.writeHead(code).end("no"));
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      const { port } = server.address() as AddressInfo;
      try {
        await bench.createPod("web", {
          containers: [{ name: "web", ...hello, readinessProbe: { httpGet: { port, path: "/" }, periodSeconds: 1 } }],
        });
        await bench.until(() =>
          bench.events("web").includes("Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 500"),
        );
        assert.equal(bench.ready("web"), false);
        const ready = bench.pod("web")?.status?.conditions?.find(({ type }) => type === "Ready");
        assert.deepEqual(
          [ready?.reason, ready?.message],
          ["ContainersNotReady", "containers with unready status: [web]"],
        );
        code = 200;
        await bench.until(() => bench.ready("web"));
      } finally {
        server.close();
      }
    });
  });

  it("restarts a container whose liveness probe fails", async () => {
    await withBench(async (bench) => {
      bench.runtime.exec1 = () => ({ exitCode: 1, output: "sick" });
      await bench.createPod("web", {
        containers: [
          {
            name: "web",
            ...hello,
            livenessProbe: { exec: { command: ["/check"] }, failureThreshold: 1, periodSeconds: 1 },
          },
        ],
      });
      await bench.until(() => bench.runtime.calls.filter((call) => call === "start web").length === 2);
      assert.ok(bench.events("web").includes("Unhealthy: Liveness probe failed: sick"));
      assert.ok(bench.events("web").includes("Killing: Container web failed liveness probe, will be restarted"));
    });
  });

  it("makes a new sandbox when the old one is lost, and starts the containers in it", async () => {
    await withBench(async (bench) => {
      await bench.createPod("web", {});
      await bench.until(() => bench.ready("web"));
      bench.runtime.breakSandbox([...bench.runtime.sandboxes.keys()][0] ?? "");
      await bench.until(() => bench.runtime.calls.filter((call) => call === "start web").length === 2);
      await bench.until(() => bench.ready("web"));
      assert.equal(bench.pod("web")?.status?.containerStatuses?.[0]?.restartCount, 1);
    });
  });

  it("finds its pods again after a restart, and starts nothing twice", async () => {
    const bench = new NodeBench();
    try {
      await bench.agent.start();
      await bench.createPod("web", {});
      await bench.until(() => bench.ready("web"));
      await bench.agent.stop();
      const [id] = bench.runtime.containers.keys();
      bench.agent = bench.newAgent();
      await bench.agent.start();
      await bench.until(() => bench.agent.pods().length === 1);
      bench.runtime.exit(id ?? "", 0);
      await bench.until(() => bench.runtime.calls.filter((call) => call === "start web").length === 2);
      assert.equal(bench.runtime.calls.filter((call) => call.startsWith("sandbox")).length, 1);
    } finally {
      await bench.stop();
    }
  });

  it("goes on refreshing the volumes of pods that it found", async () => {
    const bench = new NodeBench();
    try {
      await bench.agent.start();
      await bench.kube.create<ConfigMap>(ref("configmaps"), {
        metadata: { name: "settings", namespace: "default" },
        data: { mode: "fast" },
      });
      await bench.createPod("web", {
        volumes: [{ name: "settings", configMap: { name: "settings" } }],
        containers: [{ name: "web", ...hello, volumeMounts: [{ name: "settings", mountPath: "/etc/settings" }] }],
      });
      await bench.until(() => bench.ready("web"));
      await bench.agent.stop();
      await bench.kube.patch(ref("configmaps"), "default", "settings", "application/merge-patch+json", {
        data: { mode: "slow" },
      });
      bench.agent = bench.newAgent();
      await bench.agent.start();
      const mount = bench.runtime
        .running("web")
        ?.config.mounts.find(({ containerPath }) => containerPath === "/etc/settings");
      await bench.until(() => readFileSync(join(mount?.hostPath ?? "", "mode"), "utf8") === "slow");
    } finally {
      await bench.stop();
    }
  });

  it("removes sandboxes of pods that the API no longer has", async () => {
    const bench = new NodeBench();
    try {
      await bench.runtime.runPodSandbox({
        metadata: { name: "old", namespace: "default", uid: "gone", attempt: 0 },
        labels: {},
        annotations: {},
      } as never);
      await bench.agent.start();
      await bench.until(() => bench.runtime.sandboxes.size === 0);
    } finally {
      await bench.stop();
    }
  });

  it("keeps pods going while the API is away, and reports afterwards", async () => {
    await withBench(async (bench) => {
      await bench.createPod("web", {});
      await bench.until(() => bench.ready("web"));
      bench.kube.down = new GantryError("unavailable", "away");
      bench.kube.cutWatches();
      const [id] = bench.runtime.containers.keys();
      bench.runtime.exit(id ?? "", 1);
      await bench.until(() => bench.runtime.running("web"));
      bench.kube.down = undefined;
      await bench.until(() => bench.pod("web")?.status?.containerStatuses?.[0]?.restartCount === 1);
    });
  });

  it("rejects what does not fit on the node, or asks for what no pod may", async () => {
    await withBench(async (bench) => {
      const port = { ports: [{ containerPort: 80, hostPort: 8080 }] };
      await bench.createPod("first", { containers: [{ name: "web", ...hello, ...port }] });
      await bench.until(() => bench.ready("first"));
      await bench.createPod("big", {
        containers: [{ name: "web", ...hello, resources: { requests: { cpu: "1000" } } }],
      });
      await bench.createPod("second", { containers: [{ name: "web", ...hello, ...port }] });
      await bench.createPod("odd", { securityContext: { sysctls: [{ name: "kernel.msgmax", value: "1" }] } });
      await bench.until(() => ["big", "second", "odd"].every((name) => bench.phase(name) === "Failed"));
      assert.deepEqual(
        ["big", "second", "odd"].map((name) => bench.pod(name)?.status?.reason),
        ["OutOfcpu", "NodePorts", "SysctlForbidden"],
      );
      assert.match(
        bench.pod("big")?.status?.message ?? "",
        /^Pod was rejected: Node didn't have enough resource: cpu, requested: 1000000, used: 0, capacity: /,
      );
      assert.equal(bench.runtime.calls.filter((call) => call.startsWith("sandbox")).length, 1);
    });
  });

  it("gives a pod up when its active deadline has passed", async () => {
    await withBench(async (bench) => {
      await bench.createPod("web", { activeDeadlineSeconds: 1 });
      await bench.until(() => bench.phase("web") === "Failed");
      assert.equal(bench.pod("web")?.status?.reason, "DeadlineExceeded");
      await bench.until(() => bench.runtime.running("web") === undefined);
    });
  });
});
