import type { Strategy } from "../resource-type.ts";
import {
  configMapStrategy,
  namespaceStrategy,
  nodeStrategy,
  persistentVolumeClaimStrategy,
  persistentVolumeStrategy,
  secretStrategy,
} from "./core-strategies.ts";
import { csrStrategy } from "./csr-strategy.ts";
import { jobStrategy } from "./job-strategy.ts";
import { plainStrategies } from "./workload-strategies.ts";

/** Behaviour of the built-in kinds, by `group/resource`. Pods and Services are given by who makes them. */
export function allStrategies(pods: Strategy, services: Strategy): Record<string, Strategy> {
  return {
    ...plainStrategies,
    "/pods": pods,
    "/services": services,
    "/namespaces": namespaceStrategy,
    "/secrets": secretStrategy,
    "/configmaps": configMapStrategy,
    "/nodes": nodeStrategy,
    "/persistentvolumes": persistentVolumeStrategy,
    "/persistentvolumeclaims": persistentVolumeClaimStrategy,
    "/events": { durability: "lazy", allowCreateOnUpdate: true },
    "batch/jobs": jobStrategy,
    "certificates.k8s.io/certificatesigningrequests": csrStrategy,
    "scheduling.k8s.io/priorityclasses": { countsGeneration: true },
  };
}
