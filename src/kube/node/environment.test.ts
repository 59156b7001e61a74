import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { GantryError } from "#base/errors.ts";
import type { DownwardFacts } from "./downward.ts";
import { type EnvironmentSources, containerEnvironment, expandVariables, serviceEnvironment } from "./environment.ts";
import type { Pod } from "./pod-types.ts";

const facts: DownwardFacts = {
  nodeName: "node-1",
  hostIp: "192.0.2.1",
  podIps: ["10.64.0.2"],
  allocatableCpu: 2,
  allocatableMemoryBytes: 1024 ** 3,
  allocatableEphemeralStorageBytes: 0,
};

const sources: EnvironmentSources = {
  configMap: async (_, name) => {
    if (name !== "settings") throw new GantryError("not-found", `configmap "${name}" not found`);
    return { data: { mode: "fast", level: "3" } };
  },
  secret: async () => ({ data: { password: Buffer.from("geheim").toString("base64") } }),
  services: (namespace) =>
    namespace === "default"
      ? [{ metadata: { name: "kubernetes" }, spec: { clusterIP: "10.96.0.1", ports: [{ name: "https", port: 443 }] } }]
      : [{ metadata: { name: "my-db" }, spec: { clusterIP: "10.96.0.9", ports: [{ port: 5432 }] } }],
};

const pod: Pod = {
  metadata: { name: "web", namespace: "shop", uid: "u", labels: { app: "web" } },
  spec: { containers: [], nodeName: "node-1" },
};

describe("environment", () => {
  it("expands references as Kubernetes does", () => {
    const lookup = (name: string): string | undefined => ({ A: "1", B: "2" })[name];
    for (const [text, expanded] of [
      ["$(A)-$(B)", "1-2"],
      ["$$(A)", "$(A)"],
      ["$(NOPE)", "$(NOPE)"],
      ["$(A", "$(A"],
      ["$A $", "$A $"],
      ["$$$$", "$$"],
    ] as const) {
      assert.equal(expandVariables(text, lookup), expanded);
    }
  });

  it("takes values from everywhere, env over envFrom over services", async () => {
    const environment = await containerEnvironment(
      pod,
      {
        name: "web",
        resources: { limits: { cpu: "250m" } },
        envFrom: [
          { prefix: "S_", configMapRef: { name: "settings" } },
          { configMapRef: { name: "absent", optional: true } },
        ],
        env: [
          { name: "S_level", value: "4" },
          { name: "NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
          { name: "APP", valueFrom: { fieldRef: { fieldPath: "metadata.labels['app']" } } },
          { name: "IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } },
          { name: "MILLI", valueFrom: { resourceFieldRef: { resource: "limits.cpu", divisor: "1m" } } },
          { name: "MEMORY", valueFrom: { resourceFieldRef: { resource: "limits.memory", divisor: "1Mi" } } },
          { name: "PASSWORD", valueFrom: { secretKeyRef: { name: "s", key: "password" } } },
          { name: "URL", value: "pg://$(MY_DB_SERVICE_HOST)/$(NAME)" },
        ],
      },
      sources,
      facts,
    );
    const shown = [
      "S_mode",
      "S_level",
      "NAME",
      "APP",
      "IP",
      "MILLI",
      "MEMORY",
      "PASSWORD",
      "URL",
      "KUBERNETES_SERVICE_HOST",
    ].map((name) => environment.get(name));
    assert.deepEqual(shown, [
      "fast",
      "4",
      "web",
      "web",
      "10.64.0.2",
      "250",
      "1024",
      "geheim",
      "pg://10.96.0.9/web",
      "10.96.0.1",
    ]);
  });

  it("says which key or object is missing", async () => {
    const of = (configMapKeyRef: { name: string; key: string }) =>
      containerEnvironment(pod, { name: "web", env: [{ name: "X", valueFrom: { configMapKeyRef } }] }, sources, facts);
    await assert.rejects(of({ name: "settings", key: "nope" }), {
      message: "couldn't find key nope in ConfigMap shop/settings",
    });
    await assert.rejects(of({ name: "absent", key: "x" }), { message: 'configmap "absent" not found' });
  });

  it("describes a service as docker links did", () => {
    const environment = serviceEnvironment([
      { metadata: { name: "my-db" }, spec: { clusterIP: "10.96.0.9", ports: [{ name: "main", port: 5432 }] } },
    ]);
    assert.deepEqual(Object.fromEntries(environment), {
      MY_DB_SERVICE_HOST: "10.96.0.9",
      MY_DB_SERVICE_PORT: "5432",
      MY_DB_SERVICE_PORT_MAIN: "5432",
      MY_DB_PORT: "tcp://10.96.0.9:5432",
      MY_DB_PORT_5432_TCP: "tcp://10.96.0.9:5432",
      MY_DB_PORT_5432_TCP_PROTO: "tcp",
      MY_DB_PORT_5432_TCP_PORT: "5432",
      MY_DB_PORT_5432_TCP_ADDR: "10.96.0.9",
    });
  });
});
