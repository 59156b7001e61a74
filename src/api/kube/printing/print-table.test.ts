import assert from "node:assert/strict";
import { test } from "node:test";
import { humanDuration } from "./human-time.ts";
import { printTable } from "./print-table.ts";

const now = Date.parse("2026-01-02T00:00:00Z");
const metadata = { name: "x", creationTimestamp: "2026-01-01T23:55:00Z" };
const second = 1000;

/** The cells of one object by their titles, without those of `-o wide`. */
function cells(group: string, kind: string, object: object): Record<string, unknown> {
  const { columnDefinitions, rows } = printTable(group, kind, [{ metadata, ...object }], now);
  return Object.fromEntries(
    columnDefinitions
      .map(({ name, priority }, at) => [name, priority === 0 ? rows[0]?.cells[at] : undefined] as const)
      .filter(([, cell]) => cell !== undefined),
  );
}

const status = (more: object, spec: object = {}): unknown =>
  cells("", "Pod", {
    spec: { containers: [{ name: "a" }, { name: "b" }], ...spec },
    status: { phase: "Pending", ...more },
  })["Status"];

test("durations are shown as kubectl shows them", () => {
  const cases: [number, string][] = [
    [0, "0s"],
    [119, "119s"],
    [120, "2m"],
    [125, "2m5s"],
    [600, "10m"],
    [3 * 3600, "3h"],
    [3 * 3600 + 60, "3h1m"],
    [8 * 3600 + 60, "8h"],
    [47 * 3600, "47h"],
    [48 * 3600, "2d"],
    [49 * 3600, "2d1h"],
    [8 * 86400, "8d"],
    [800 * 86400, "2y70d"],
  ];
  for (const [seconds, expected] of cases) assert.equal(humanDuration(seconds * second), expected);
});

test("a pod's status tells what it is doing", () => {
  const waiting = (reason: string): object => ({ name: "a", state: { waiting: { reason } } });
  assert.equal(status({}), "Pending");
  assert.equal(status({ phase: "Running", containerStatuses: [waiting("CrashLoopBackOff")] }), "CrashLoopBackOff");
  assert.equal(status({ containerStatuses: [waiting("ImagePullBackOff")] }), "ImagePullBackOff");
  assert.equal(status({ containerStatuses: [waiting("ContainerCreating")] }), "ContainerCreating");
  assert.equal(
    status({
      phase: "Succeeded",
      containerStatuses: [{ name: "a", state: { terminated: { exitCode: 0, reason: "Completed" } } }],
    }),
    "Completed",
  );
  assert.equal(
    status({ phase: "Failed", containerStatuses: [{ name: "a", state: { terminated: { exitCode: 3 } } }] }),
    "ExitCode:3",
  );
  assert.equal(
    status({
      phase: "Failed",
      containerStatuses: [{ name: "a", state: { terminated: { signal: 9, exitCode: 137 } } }],
    }),
    "Signal:9",
  );
  assert.equal(status({ phase: "Failed", reason: "Evicted" }), "Evicted");
  const inits = { initContainers: [{ name: "i" }, { name: "j" }] };
  assert.equal(
    status(
      {
        initContainerStatuses: [
          { name: "i", state: { running: {} } },
          { name: "j", state: { waiting: {} } },
        ],
      },
      inits,
    ),
    "Init:0/2",
  );
  assert.equal(
    status(
      {
        initContainerStatuses: [
          { name: "i", state: { terminated: { exitCode: 0 } } },
          { name: "j", state: { terminated: { exitCode: 1, reason: "Error" } } },
        ],
      },
      inits,
    ),
    "Init:Error",
  );
  assert.equal(
    status({ conditions: [{ type: "PodScheduled", status: "False", reason: "SchedulingGated" }] }),
    "SchedulingGated",
  );
  const { rows } = printTable(
    "",
    "Pod",
    [{ metadata: { ...metadata, deletionTimestamp: "2026-01-01T23:59:00Z" }, spec: {}, status: { phase: "Running" } }],
    now,
  );
  assert.equal(rows[0]?.cells[2], "Terminating");
});

test("a pod's readiness and restarts are counted", () => {
  const running = { state: { running: {} }, ready: true, restartCount: 0 };
  const again = { ...running, restartCount: 2, lastState: { terminated: { finishedAt: "2026-01-01T23:57:00Z" } } };
  const row = cells("", "Pod", {
    spec: { containers: [{ name: "a" }, { name: "b" }] },
    status: {
      phase: "Running",
      containerStatuses: [
        { name: "a", ...running },
        { name: "b", ...again },
      ],
    },
  });
  assert.deepEqual(row, { Name: "x", Ready: "2/2", Status: "Running", Restarts: "2 (3m ago)", Age: "5m" });
});

test("other kinds have upstream's columns", () => {
  assert.deepEqual(
    cells("apps", "Deployment", {
      spec: { replicas: 3 },
      status: { readyReplicas: 1, updatedReplicas: 2, availableReplicas: 1 },
    }),
    { Name: "x", Ready: "1/3", "Up-to-date": 2, Available: 1, Age: "5m" },
  );
  assert.deepEqual(
    cells("", "Service", {
      spec: { type: "NodePort", clusterIP: "10.0.0.1", ports: [{ port: 80, nodePort: 30080, protocol: "TCP" }] },
    }),
    {
      Name: "x",
      Type: "NodePort",
      "Cluster-IP": "10.0.0.1",
      "External-IP": "<none>",
      "Port(s)": "80:30080/TCP",
      Age: "5m",
    },
  );
  assert.deepEqual(cells("", "ServiceAccount", {}), { Name: "x", Age: "5m" });
  assert.deepEqual(cells("resource.k8s.io", "ResourceClaim", { status: { allocation: {}, reservedFor: [{}] } }), {
    Name: "x",
    State: "allocated,reserved",
    Age: "5m",
  });
  assert.deepEqual(cells("example.com", "Thing", {}), { Name: "x", "Created At": metadata.creationTimestamp });
});

test("nothing in an object makes a table throw", () => {
  for (const kind of [
    "Pod",
    "Service",
    "Node",
    "Event",
    "Secret",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Endpoints",
  ]) {
    for (const object of [{}, { spec: {} }, { spec: {}, status: {} }]) printTable("", kind, [object], now);
  }
});
