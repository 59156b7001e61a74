import assert from "node:assert/strict";
import { test } from "node:test";
import { withDefaults } from "./apply-defaults.ts";

test("a pod gets upstream's defaults, zero structs and canonical quantities", () => {
  const pod = withDefaults({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "p", labels: {} },
    spec: {
      containers: [
        {
          name: "c",
          image: "nginx",
          ports: [{ containerPort: 80 }],
          resources: { limits: { cpu: "0.5", memory: "1024Mi" } },
          livenessProbe: { httpGet: { port: 80 } },
          env: [{ name: "N", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } }],
        },
      ],
      volumes: [{ name: "v" }, { name: "s", secret: { secretName: "x" } }, { name: "h", hostPath: { path: "/x" } }],
    },
  }) as unknown;
  assert.deepEqual(pod, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "p" },
    spec: {
      containers: [
        {
          name: "c",
          image: "nginx",
          ports: [{ containerPort: 80, protocol: "TCP" }],
          resources: { limits: { cpu: "500m", memory: "1Gi" }, requests: { cpu: "500m", memory: "1Gi" } },
          livenessProbe: {
            httpGet: { port: 80, path: "/", scheme: "HTTP" },
            timeoutSeconds: 1,
            periodSeconds: 10,
            successThreshold: 1,
            failureThreshold: 3,
          },
          env: [{ name: "N", valueFrom: { fieldRef: { fieldPath: "metadata.name", apiVersion: "v1" } } }],
          imagePullPolicy: "Always",
          terminationMessagePath: "/dev/termination-log",
          terminationMessagePolicy: "File",
        },
      ],
      volumes: [
        { name: "v", emptyDir: {} },
        { name: "s", secret: { secretName: "x", defaultMode: 420 } },
        { name: "h", hostPath: { path: "/x", type: "" } },
      ],
      enableServiceLinks: true,
      dnsPolicy: "ClusterFirst",
      restartPolicy: "Always",
      securityContext: {},
      terminationGracePeriodSeconds: 30,
      schedulerName: "default-scheduler",
    },
    status: {},
  });
});

test("the pull policy follows the image's tag", () => {
  const policy = (image: string): unknown =>
    (
      withDefaults({ apiVersion: "v1", kind: "Pod", spec: { containers: [{ name: "c", image }] } }) as unknown as {
        spec: { containers: { imagePullPolicy: string }[] };
      }
    ).spec.containers[0]?.imagePullPolicy;
  assert.equal(policy("a"), "Always");
  assert.equal(policy("a:latest"), "Always");
  assert.equal(policy("localhost:5000/a"), "Always");
  assert.equal(policy("localhost:5000/a:1"), "IfNotPresent");
  assert.equal(policy(`a@sha256:${"0".repeat(64)}`), "IfNotPresent");
});

test("defaulting twice changes nothing more, and never the given object", () => {
  const given = Object.freeze({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: Object.freeze({ name: "d" }),
    spec: Object.freeze({
      selector: { matchLabels: { a: "b" } },
      template: Object.freeze({
        metadata: { labels: { a: "b" } },
        spec: { containers: Object.freeze([{ name: "c", image: "x:1" }]) },
      }),
    }),
  });
  const once = withDefaults(given);
  assert.deepEqual(withDefaults(once), once);
  assert.deepEqual((once as unknown as { spec: { strategy: unknown } }).spec.strategy, {
    type: "RollingUpdate",
    rollingUpdate: { maxUnavailable: "25%", maxSurge: "25%" },
  });
});

test("a service's ports and policies are defaulted", () => {
  const { spec, status } = withDefaults({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "s" },
    spec: { ports: [{ port: 80 }], type: "NodePort" },
  }) as unknown as Record<string, unknown>;
  assert.deepEqual(spec, {
    ports: [{ port: 80, protocol: "TCP", targetPort: 80 }],
    type: "NodePort",
    sessionAffinity: "None",
    externalTrafficPolicy: "Cluster",
    internalTrafficPolicy: "Cluster",
  });
  assert.deepEqual(status, { loadBalancer: {} });
});
