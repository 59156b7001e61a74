import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { RuntimeImage } from "#api/pod-runtime.ts";
import { ManualClock } from "#base/clock.ts";
import { Backoff, goDuration } from "./backoff.ts";
import { admissionRejection } from "./pod-admission.ts";
import { containerSecurity, verifyNonRoot } from "./container-config.ts";
import { invalidImageName, registryAuths, registryOf } from "./image-puller.ts";
import { containerResources, podCgroup, podResources, qosClass } from "./pod-resources.ts";
import type { Container, Pod, PodSpec } from "./pod-types.ts";
import { quantityMilli, quantityValue } from "./quantity-value.ts";
import { podDns, podHostname, sandboxConfig } from "./sandbox-config.ts";

const pod = (spec: Partial<PodSpec>): Pod => ({
  metadata: { name: "web", namespace: "shop", uid: "u" },
  spec: { containers: [{ name: "web" }], ...spec },
});
const facts = {
  nodeName: "node-1",
  logRoot: "/logs",
  clusterDnsIp: "10.96.0.10",
  clusterDomain: "cluster.local",
  hostDns: { servers: ["192.0.2.53"], searches: ["example.com"], options: ["edns0"] },
};

describe("resources", () => {
  it("reads quantities", () => {
    assert.deepEqual(["250m", "1Ki", "1.5Gi", "2e3", "1M", "3"].map(quantityValue), [
      0.25,
      1024,
      1.5 * 1024 ** 3,
      2000,
      1_000_000,
      3,
    ]);
    assert.equal(quantityMilli("0.1"), 100);
    assert.throws(() => quantityValue("1x"), { code: "invalid" });
  });

  it("sorts pods into classes and cgroups", () => {
    const same = { limits: { cpu: "1", memory: "64Mi" }, requests: { cpu: "1", memory: "64Mi" } };
    const guaranteed = pod({ containers: [{ name: "web", resources: same }] });
    const burstable = pod({ containers: [{ name: "web", resources: { requests: { cpu: "100m", memory: "64Mi" } } }] });
    assert.deepEqual([guaranteed, burstable, pod({})].map(qosClass), ["Guaranteed", "Burstable", "BestEffort"]);
    assert.deepEqual([guaranteed, burstable, pod({})].map(podCgroup), [
      "kubepods/podu",
      "kubepods/burstable/podu",
      "kubepods/besteffort/podu",
    ]);
    assert.deepEqual(podResources(guaranteed), {
      cpuShares: 1024,
      cpuPeriod: 100_000,
      cpuQuota: 100_000,
      memoryLimitBytes: 64 * 1024 ** 2,
    });
    assert.deepEqual(podResources(pod({})), { cpuShares: 2 });
    const web = burstable.spec?.containers[0] as Container;
    assert.deepEqual(containerResources(burstable, web, 64 * 1024 ** 2 * 10), { cpuShares: 102, oomScoreAdj: 900 });
  });
});

describe("sandbox", () => {
  it("resolves through the cluster's DNS, or the host's on the host network", () => {
    assert.deepEqual(podDns(pod({}), facts), {
      servers: ["10.96.0.10"],
      searches: ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.com"],
      options: ["ndots:5"],
    });
    assert.deepEqual(podDns(pod({ hostNetwork: true }), facts), facts.hostDns);
    assert.deepEqual(
      podDns(
        pod({ dnsPolicy: "None", dnsConfig: { nameservers: ["1.1.1.1"], options: [{ name: "ndots", value: "2" }] } }),
        facts,
      ),
      {
        servers: ["1.1.1.1"],
        searches: [],
        options: ["ndots:2"],
      },
    );
  });

  it("names the host as the pod asks", () => {
    assert.equal(podHostname(pod({}), facts), "web");
    assert.equal(podHostname(pod({ hostNetwork: true }), facts), "node-1");
    assert.equal(
      podHostname(pod({ hostname: "a", subdomain: "b", setHostnameAsFQDN: true }), facts),
      "a.b.shop.svc.cluster.local",
    );
    assert.throws(
      () => podHostname(pod({ hostname: "a".repeat(60), subdomain: "b", setHostnameAsFQDN: true }), facts),
      /is too long \(64 characters is the max/,
    );
  });

  it("publishes host ports, and logs where the kubelet would", () => {
    const config = sandboxConfig(
      pod({
        containers: [
          { name: "web", ports: [{ containerPort: 80, hostPort: 8080, protocol: "TCP" }, { containerPort: 81 }] },
        ],
      }),
      0,
      facts,
    );
    assert.deepEqual(config.portMappings, [{ protocol: "tcp", containerPort: 80, hostPort: 8080 }]);
    assert.equal(config.logDirectory, "/logs/shop_web_u");
  });
});

describe("container", () => {
  const root: RuntimeImage = { id: "i", repoTags: [], repoDigests: [], sizeBytes: 1, uid: 0 };

  it("refuses to run as root what must not", () => {
    const strict = pod({ securityContext: { runAsNonRoot: true } });
    const web: Container = { name: "web" };
    assert.throws(() => verifyNonRoot(strict, web, root), {
      message: 'container has runAsNonRoot and image will run as root (pod: "web_shop(u)", container: web)',
    });
    assert.throws(
      () => verifyNonRoot(strict, web, { ...root, uid: undefined, username: "app" }),
      /image has non-numeric user \(app\), cannot verify user is non-root/,
    );
    assert.throws(
      () => verifyNonRoot(strict, { name: "web", securityContext: { runAsUser: 0 } }, root),
      /container's runAsUser breaks non-root policy/,
    );
    verifyNonRoot(strict, { name: "web", securityContext: { runAsUser: 1000 } }, root);
  });

  it("merges the pod's security with the container's own", () => {
    const security = containerSecurity(
      pod({
        securityContext: {
          runAsUser: 1,
          fsGroup: 7,
          supplementalGroups: [8],
          seccompProfile: { type: "RuntimeDefault" },
        },
      }),
      {
        name: "web",
        securityContext: { runAsUser: 2, allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
      },
      "/seccomp",
    );
    assert.deepEqual(
      [
        security.runAsUser,
        security.supplementalGroups,
        security.noNewPrivileges,
        security.capabilitiesDrop,
        security.seccompProfile,
      ],
      [2, [8, 7], true, ["ALL"], "runtime/default"],
    );
  });
});

describe("AppArmor", () => {
  const confined = pod({
    securityContext: { appArmorProfile: { type: "Localhost", localhostProfile: "mine" } },
    containers: [
      { name: "web" },
      { name: "own", securityContext: { appArmorProfile: { type: "Unconfined" } } },
      { name: "default", securityContext: { appArmorProfile: { type: "RuntimeDefault" } } },
    ],
  });

  it("takes a container's profile before its pod's", () => {
    const names = confined.spec?.containers.map(
      (container) => containerSecurity(confined, container, "/seccomp").apparmorProfile,
    );
    assert.deepEqual(names, ["mine", "unconfined", undefined]);
  });

  it("rejects a pod that asks for a profile where the kernel has none", () => {
    const machine = { cpus: 2, memoryBytes: 1, maxPods: 110 };
    assert.deepEqual(admissionRejection(confined, [], { ...machine, apparmor: false }), {
      reason: "AppArmor",
      message: "Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host",
    });
    assert.equal(admissionRejection(confined, [], { ...machine, apparmor: true }), undefined);
    assert.equal(admissionRejection(pod({}), [], { ...machine, apparmor: false }), undefined);
  });
});

describe("images", () => {
  it("knows good names from bad ones", () => {
    for (const good of [
      "nginx",
      "nginx:1.2",
      "a/b/c",
      "localhost:5000/x:y",
      "registry.example.com/a__b",
      `x@sha256:${"a".repeat(64)}`,
    ])
      assert.equal(invalidImageName(good), undefined, good);
    assert.equal(
      invalidImageName("Upper"),
      'Failed to apply default image tag "Upper": couldn\'t parse image name "Upper": invalid reference format: repository name (library/Upper) must be lowercase',
    );
    for (const bad of ["", "a b", "x:y:z", "/x"]) assert.match(invalidImageName(bad) ?? "", /invalid reference format/);
  });

  it("finds the credentials of a registry", () => {
    const data = {
      auths: { "https://index.docker.io/v1/": { username: "u", password: "p" }, "other.test": { auth: "x" } },
    };
    const secret = { data: { ".dockerconfigjson": Buffer.from(JSON.stringify(data)).toString("base64") } };
    assert.equal(registryOf("nginx"), "docker.io");
    assert.equal(registryAuths([secret], "nginx")[0]?.username, "u");
    assert.equal(registryAuths([secret], "other.test/x")[0]?.auth, "x");
    assert.deepEqual(registryAuths([secret], "third.test/x"), []);
  });
});

describe("back-off", () => {
  it("doubles from ten seconds to five minutes, and starts over after ten minutes of peace", async () => {
    const clock = new ManualClock();
    const backoff = new Backoff(clock);
    const seen: string[] = [];
    for (let n = 0; n < 7; n++) {
      backoff.next("k", clock.now());
      seen.push(goDuration(backoff.delay("k")));
    }
    assert.deepEqual(seen, ["10s", "20s", "40s", "1m20s", "2m40s", "5m0s", "5m0s"]);
    assert.equal(backoff.remaining("k", clock.now()), 300_000);
    await clock.advance(600_001);
    assert.equal(backoff.remaining("k", clock.now()), 0);
    backoff.next("k", clock.now());
    assert.equal(backoff.delay("k"), 10_000);
  });
});
