import { DeploymentController } from "./deployment/deployment-controller.ts";
import type { ControllerParts } from "./controller-parts.ts";
import { EndpointSliceController } from "./endpoint-slice.ts";
import { GarbageCollector } from "./garbage-collector.ts";
import { NamespaceController } from "./namespace-deletion.ts";
import { NodeLifecycleController } from "./node-lifecycle.ts";
import { PodGarbageController } from "./pod-gc.ts";
import { ReplicaSetController } from "./replica-set.ts";
import { ServiceAccountController } from "./service-account.ts";

export interface ControllersOptions {
  /** The cluster authority's certificate, for `kube-root-ca.crt`. */
  caPem: string;
}

/** Starts every controller in the group of `parts`; they end with it. Needs `informers` to be started too. */
export function startControllers(options: ControllersOptions, parts: ControllerParts): void {
  const controllers = [
    new ServiceAccountController(options, parts),
    new ReplicaSetController(parts),
    new DeploymentController(parts),
    new EndpointSliceController(parts),
    new NamespaceController(parts),
    new GarbageCollector(parts),
    new NodeLifecycleController(parts),
    new PodGarbageController(parts),
  ];
  for (const controller of controllers) controller.start();
}
