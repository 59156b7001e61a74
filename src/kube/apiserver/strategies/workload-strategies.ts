import type { Strategy } from "../resource-type.ts";

const counted: Strategy = { countsGeneration: true };

/**
 * Strategies of kinds that need nothing but facts: whether generation counts, and what status a new object
 * has (fields that are always present in upstream's answers are zero here).
 */
export const plainStrategies: Record<string, Strategy> = {
  "/replicationcontrollers": { countsGeneration: true, initialStatus: { replicas: 0 } },
  "/resourcequotas": { initialStatus: {} },
  "/podtemplates": counted,
  "apps/deployments": { countsGeneration: true, initialStatus: {} },
  "apps/replicasets": { countsGeneration: true, initialStatus: { replicas: 0 } },
  "apps/statefulsets": { countsGeneration: true, initialStatus: { replicas: 0, availableReplicas: 0 } },
  "apps/daemonsets": {
    countsGeneration: true,
    initialStatus: { currentNumberScheduled: 0, numberMisscheduled: 0, desiredNumberScheduled: 0, numberReady: 0 },
  },
  "batch/cronjobs": { countsGeneration: true, initialStatus: {} },
  "autoscaling/horizontalpodautoscalers": { initialStatus: { desiredReplicas: 0 } },
  "policy/poddisruptionbudgets": {
    countsGeneration: true,
    initialStatus: { disruptionsAllowed: 0, currentHealthy: 0, desiredHealthy: 0, expectedPods: 0 },
  },
  "networking.k8s.io/ingresses": { countsGeneration: true, initialStatus: { loadBalancer: {} } },
  "networking.k8s.io/networkpolicies": counted,
  "networking.k8s.io/ingressclasses": counted,
  "networking.k8s.io/servicecidrs": { initialStatus: {} },
  "discovery.k8s.io/endpointslices": { countsGeneration: true, allowCreateOnUpdate: false },
  "/endpoints": { allowCreateOnUpdate: true },
  "/limitranges": { allowCreateOnUpdate: true },
  "coordination.k8s.io/leases": { allowCreateOnUpdate: true, durability: "lazy" },
  "apiextensions.k8s.io/customresourcedefinitions": { countsGeneration: true, initialStatus: {} },
  "apiregistration.k8s.io/apiservices": { initialStatus: {} },
  "admissionregistration.k8s.io/mutatingwebhookconfigurations": counted,
  "admissionregistration.k8s.io/validatingwebhookconfigurations": counted,
  "admissionregistration.k8s.io/validatingadmissionpolicies": { countsGeneration: true, initialStatus: {} },
  "admissionregistration.k8s.io/validatingadmissionpolicybindings": counted,
  "admissionregistration.k8s.io/mutatingadmissionpolicies": counted,
  "admissionregistration.k8s.io/mutatingadmissionpolicybindings": counted,
  "flowcontrol.apiserver.k8s.io/flowschemas": { countsGeneration: true, initialStatus: {} },
  "flowcontrol.apiserver.k8s.io/prioritylevelconfigurations": { countsGeneration: true, initialStatus: {} },
  "resource.k8s.io/resourceclaims": { initialStatus: {} },
  "resource.k8s.io/resourceslices": counted,
  "storage.k8s.io/volumeattachments": { initialStatus: { attached: false } },
};
