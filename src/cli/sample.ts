import { existsSync } from "node:fs";
import { join } from "node:path";
import { GantryError } from "#base/errors.ts";
import { writeFileAtomicSync } from "#host/files.ts";
import type { InstanceConfig } from "#daemon/instance-config.ts";
import type { KubeRequester } from "./kube-request.ts";

const name = "hello";
const replicas = 2;

/** Deployed once in an instance's life: who deletes it does not want it back. */
export function sampleMarker(config: InstanceConfig): string {
  return join(config.root, "sample-deployed");
}

export function sampleWasDeployed(config: InstanceConfig): boolean {
  return existsSync(sampleMarker(config));
}

function deployment(): object {
  const labels = { app: name };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name, labels },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: {
          terminationGracePeriodSeconds: 5,
          containers: [
            {
              name,
              image: "gantry/hello",
              imagePullPolicy: "IfNotPresent",
              ports: [{ name: "http", containerPort: 80 }],
              readinessProbe: { httpGet: { path: "/", port: "http" }, periodSeconds: 5 },
            },
          ],
        },
      },
    },
  };
}

/** The sample's node port: the 80th of the instance's range, 30080 for the first instance. */
export function sampleNodePort(config: InstanceConfig): number {
  return config.nodePortRange.from + 80;
}

function service(config: InstanceConfig): object {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, labels: { app: name } },
    spec: {
      type: "NodePort",
      selector: { app: name },
      ports: [{ name: "http", port: 80, targetPort: "http", nodePort: sampleNodePort(config) }],
    },
  };
}

/** Creates the sample Deployment and Service; what is there already stays as it is. */
export async function deploySample(config: InstanceConfig, kube: KubeRequester): Promise<void> {
  for (const [path, object] of [
    ["/apis/apps/v1/namespaces/default/deployments", deployment()],
    ["/api/v1/namespaces/default/services", service(config)],
  ] as const) {
    const { status, body } = await kube.send("POST", path, object);
    if (status !== 201 && status !== 409) {
      throw new GantryError(
        "internal",
        `The sample application was refused: ${(body as { message?: string }).message ?? status}.`,
      );
    }
  }
  writeFileAtomicSync(sampleMarker(config), "");
}

/** True once all replicas are available. Also true when the sample has been deleted: then there is nothing to wait for. */
export async function sampleIsReady(kube: KubeRequester): Promise<boolean> {
  const { status, body } = await kube.send("GET", `/apis/apps/v1/namespaces/default/deployments/${name}`);
  if (status === 404) return true;
  const { spec, status: state } = body as { spec?: { replicas?: number }; status?: { availableReplicas?: number } };
  return status === 200 && (state?.availableReplicas ?? 0) >= (spec?.replicas ?? replicas);
}

/** The sample's page, or undefined when it is not there (any more). */
export async function sampleAddress(kube: KubeRequester): Promise<string | undefined> {
  const { status, body } = await kube.send("GET", `/api/v1/namespaces/default/services/${name}`);
  const port = (body as { spec?: { ports?: { nodePort?: number }[] } }).spec?.ports?.[0]?.nodePort;
  return status === 200 && port !== undefined ? `http://127.0.0.1:${port}` : undefined;
}
