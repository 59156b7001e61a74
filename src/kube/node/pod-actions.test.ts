import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PodContainerStatus, PodSandboxStatus } from "#api/pod-runtime.ts";
import { type PodActionInputs, computePodActions, containerHash } from "./pod-actions.ts";
import { computePodStatus } from "./pod-status.ts";
import type { Container, Pod, PodSpec } from "./pod-types.ts";
import type { PodView } from "./runtime-view.ts";

const image = "gantry/hello";
const quiet: PodActionInputs = { startup: () => "success", liveness: () => "success", backoff: () => 0 };

function pod(spec: Partial<PodSpec> = {}): Pod {
  return {
    metadata: { name: "web", namespace: "default", uid: "u" },
    spec: { containers: [{ name: "web", image }], restartPolicy: "Always", ...spec },
  };
}

const sandbox = (attempt = 0, state: "ready" | "not-ready" = "ready"): PodSandboxStatus => ({
  id: `sandbox-${attempt}`,
  metadata: { name: "web", namespace: "default", uid: "u", attempt },
  state,
  createdAt: attempt,
  ips: ["10.64.0.2"],
  netnsPath: "",
  labels: {},
  annotations: {},
});

function container(name: string, more: Partial<PodContainerStatus> = {}): PodContainerStatus {
  return {
    id: `${name}-0`,
    sandboxId: "sandbox-0",
    metadata: { name, attempt: 0 },
    state: "running",
    createdAt: 1,
    startedAt: 1,
    finishedAt: 0,
    exitCode: 0,
    reason: "",
    message: "",
    image,
    imageId: "sha256:1",
    imageRef: "sha256:1",
    labels: { "io.kubernetes.container.name": name },
    annotations: { "io.kubernetes.container.hash": containerHash({ name, image }) },
    logPath: "",
    pid: 1,
    ...more,
  };
}

const exited = (name: string, exitCode: number): PodContainerStatus =>
  container(name, { state: "exited", exitCode, finishedAt: 5 });
const plan = (of: Pod, view: PodView, inputs: Partial<PodActionInputs> = {}): string[] =>
  computePodActions(of, view, { ...quiet, ...inputs }).map((step) => {
    switch (step.do) {
      case "start-container":
        return `start ${step.container.name} ${step.attempt}`;
      case "kill-container":
        return `kill ${step.container.name}: ${step.message}`;
      case "back-off":
        return `back off ${step.container.name} ${step.waitMs}`;
      case "create-sandbox":
        return `sandbox ${step.attempt}`;
      default:
        return `${step.do} ${step.id}`;
    }
  });

describe("plan of a pod", () => {
  it("begins with a sandbox, then its containers", () => {
    assert.deepEqual(plan(pod(), { sandboxes: [], containers: [] }), ["sandbox 0"]);
    assert.deepEqual(plan(pod(), { sandboxes: [sandbox()], containers: [] }), ["start web 0"]);
    assert.deepEqual(plan(pod(), { sandboxes: [sandbox()], containers: [container("web")] }), []);
  });

  it("starts a container again as the restart policy says, and waits out its back-off", () => {
    const view = { sandboxes: [sandbox()], containers: [exited("web", 0)] };
    assert.deepEqual(plan(pod(), view), ["start web 1"]);
    assert.deepEqual(plan(pod(), view, { backoff: () => 700 }), ["back off web 700"]);
    assert.deepEqual(plan(pod({ restartPolicy: "OnFailure" }), view), []);
    assert.deepEqual(plan(pod({ restartPolicy: "Never" }), { ...view, containers: [exited("web", 1)] }), []);
    assert.deepEqual(plan(pod({ restartPolicy: "OnFailure" }), { ...view, containers: [exited("web", 1)] }), [
      "start web 1",
    ]);
  });

  it("follows a container's own restart rules", () => {
    const web: Container = {
      name: "web",
      image,
      restartPolicy: "Never",
      restartPolicyRules: [{ action: "Restart", exitCodes: { operator: "In", values: [42] } }],
    };
    const of = pod({ containers: [web] });
    assert.deepEqual(plan(of, { sandboxes: [sandbox()], containers: [exited("web", 42)] }), ["start web 1"]);
    assert.deepEqual(plan(of, { sandboxes: [sandbox()], containers: [exited("web", 1)] }), []);
  });

  it("runs init containers one after the other, and sidecars before what comes after them", () => {
    const of = pod({
      initContainers: [
        { name: "a", image },
        { name: "side", image, restartPolicy: "Always" },
        { name: "b", image },
      ],
    });
    const at = (...containers: PodContainerStatus[]): PodView => ({ sandboxes: [sandbox()], containers });
    assert.deepEqual(plan(of, at()), ["start a 0"]);
    assert.deepEqual(plan(of, at(container("a"))), []);
    assert.deepEqual(plan(of, at(exited("a", 0))), ["start side 0"]);
    assert.deepEqual(plan(of, at(exited("a", 0), container("side")), { startup: () => "unknown" }), []);
    assert.deepEqual(plan(of, at(exited("a", 0), container("side"))), ["start b 0"]);
    assert.deepEqual(plan(of, at(exited("a", 0), container("side"), exited("b", 0))), ["start web 0"]);
    assert.deepEqual(plan(of, at(exited("a", 0), exited("side", 1), exited("b", 0), container("web"))), [
      "start side 1",
    ]);
  });

  it("tries a failed init container again, unless the pod is never restarted", () => {
    const initContainers = [{ name: "a", image }];
    const view = { sandboxes: [sandbox()], containers: [exited("a", 1)] };
    assert.deepEqual(plan(pod({ initContainers }), view), ["start a 1"]);
    assert.deepEqual(plan(pod({ initContainers, restartPolicy: "Never" }), view), []);
  });

  it("kills what fails its probes or was changed", () => {
    const view = { sandboxes: [sandbox()], containers: [container("web")] };
    assert.deepEqual(plan(pod(), view, { liveness: () => "failure" }), [
      "kill web: Container web failed liveness probe, will be restarted",
    ]);
    assert.deepEqual(plan(pod({ restartPolicy: "Never" }), view, { startup: () => "failure" }), [
      "kill web: Container web failed startup probe",
    ]);
    const changed = pod({ containers: [{ name: "web", image: "other" }] });
    assert.deepEqual(plan(changed, view), ["kill web: Container web definition changed, will be restarted"]);
  });

  it("replaces a lost sandbox, but not for a pod whose work is over", () => {
    const lost = { sandboxes: [sandbox(0, "not-ready")], containers: [exited("web", 137)] };
    assert.deepEqual(plan(pod(), lost), ["sandbox 1"]);
    assert.deepEqual(plan(pod({ restartPolicy: "Never" }), lost), []);
    assert.deepEqual(
      plan(pod(), { sandboxes: [sandbox(1), sandbox(0, "not-ready")], containers: [exited("web", 137)] }),
      ["start web 1"],
    );
  });

  it("removes instances older than the last two", () => {
    const old = [2, 1, 0].map((attempt) =>
      container("web", {
        id: `web-${attempt}`,
        metadata: { name: "web", attempt },
        state: attempt === 2 ? "running" : "exited",
      }),
    );
    assert.deepEqual(plan(pod(), { sandboxes: [sandbox()], containers: old }), ["remove-container web-0"]);
  });
});

describe("status of a pod", () => {
  const inputs = {
    now: Date.UTC(2026, 0, 1),
    hostIp: "192.0.2.1",
    startTime: "2026-01-01T00:00:00Z",
    waiting: () => undefined,
    ready: () => true,
    started: () => true,
    terminationMessage: () => "",
    isTerminal: false,
    previous: undefined,
  };

  it("is Pending with ContainersNotInitialized while init containers run", () => {
    const of = pod({
      initContainers: [
        { name: "a", image },
        { name: "b", image },
      ],
    });
    const status = computePodStatus(of, { sandboxes: [sandbox()], containers: [container("a")] }, inputs);
    assert.equal(status.phase, "Pending");
    const initialized = status.conditions?.find(({ type }) => type === "Initialized");
    assert.deepEqual(
      [initialized?.reason, initialized?.message],
      ["ContainersNotInitialized", "containers with incomplete status: [a b]"],
    );
    assert.equal(status.containerStatuses?.[0]?.state?.waiting?.reason, "PodInitializing");
  });

  it("keeps the time of a condition that has not changed", () => {
    const view = { sandboxes: [sandbox()], containers: [container("web")] };
    const first = computePodStatus(pod(), view, inputs);
    const second = computePodStatus(pod(), view, { ...inputs, now: inputs.now + 60_000, previous: first });
    assert.deepEqual(second, first);
  });

  it("waits for readiness gates", () => {
    const of = pod({ readinessGates: [{ conditionType: "example.com/gate" }] });
    const ready = computePodStatus(
      of,
      { sandboxes: [sandbox()], containers: [container("web")] },
      inputs,
    ).conditions?.find(({ type }) => type === "Ready");
    assert.deepEqual([ready?.status, ready?.reason], ["False", "ReadinessGatesNotReady"]);
    assert.equal(ready?.message, 'corresponding condition of pod readiness gate "example.com/gate" does not exist.');
  });

  it("shows the end before the last as lastState", () => {
    const view = {
      sandboxes: [sandbox()],
      containers: [container("web", { id: "web-1", metadata: { name: "web", attempt: 1 } }), exited("web", 3)],
    };
    const [web] = computePodStatus(pod(), view, inputs).containerStatuses ?? [];
    assert.equal(web?.restartCount, 1);
    assert.equal(web?.lastState?.terminated?.exitCode, 3);
    assert.equal(web?.lastState?.terminated?.reason, "Error");
  });
});
