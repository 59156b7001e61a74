/** 50 pods from the creation of their Deployment to all Ready. */
import { ref } from "#api/kube/object.ts";
import { startInstance } from "./instance.ts";
import { type Bench, row, until } from "./kit.ts";

const count = 50;
const runs = 3;

function deployment(name: string): object {
  const labels = { app: name };
  const container = { name: "hello", image: "gantry/hello", imagePullPolicy: "IfNotPresent" };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name, namespace: "default" },
    spec: {
      replicas: count,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { terminationGracePeriodSeconds: 1, containers: [container] } },
    },
  };
}

export const bench: Bench = {
  name: "pods",
  title: "50 pods",
  async run() {
    const instance = await startInstance("bench-pods", { sample: false });
    const client = await instance.kube();
    const ready: number[] = [];
    const gone: number[] = [];
    for (let index = 0; index < runs; index++) {
      const name = `many-${index}`;
      let began = performance.now();
      await client.create(ref("apps/v1", "deployments"), deployment(name) as never);
      await until(
        "50 pods",
        120_000,
        async () => {
          const { status } = (await client.get(ref("apps/v1", "deployments"), "default", name)) as {
            status?: { readyReplicas?: number };
          };
          return status?.readyReplicas === count;
        },
        20,
      );
      ready.push((performance.now() - began) / 1000);
      began = performance.now();
      await client.delete(ref("apps/v1", "deployments"), "default", name, { propagationPolicy: "Background" });
      await until(
        "no pods",
        120_000,
        async () =>
          (await client.list(ref("pods"), { namespace: "default", labelSelector: `app=${name}` })).items.length === 0,
        50,
      );
      gone.push((performance.now() - began) / 1000);
    }
    await instance.remove();
    return {
      rows: [
        row("create a Deployment of 50 to all Ready", "s", ready),
        row("delete it to no pod left (grace period 1 s)", "s", gone),
      ],
      notes: ["One node. Over HTTPS, polled every 20 ms (50 ms for the deletion)."],
    };
  },
};
