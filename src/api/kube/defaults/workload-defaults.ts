/** Defaults of apps, batch and autoscaling (Kubernetes 1.36). */
import { type DefaultRule, type Fields, isEmpty, part, set } from "./rule.ts";

const scaleUpPolicies = [
  { type: "Pods", value: 4, periodSeconds: 15 },
  { type: "Percent", value: 100, periodSeconds: 15 },
];
const scaleDownPolicies = [{ type: "Percent", value: 100, periodSeconds: 15 }];

function scalingRules(behavior: Fields, name: string, policies: object[], window: number | undefined): void {
  const rules = part(behavior, name);
  set(rules, "selectPolicy", "Max");
  if (window !== undefined) set(rules, "stabilizationWindowSeconds", window);
  if (rules["policies"] === undefined) rules["policies"] = structuredClone(policies);
}

function job(object: Fields): void {
  const spec = part(object, "spec");
  if (spec["completions"] === undefined && spec["parallelism"] === undefined) spec["completions"] = 1;
  set(spec, "parallelism", 1);
  set(spec, "backoffLimit", spec["backoffLimitPerIndex"] === undefined ? 6 : 2147483647);
  const labels = (spec["template"] as { metadata?: { labels?: Fields } } | undefined)?.metadata?.labels;
  const metadata = part(object, "metadata");
  if (labels !== undefined && isEmpty(metadata["labels"])) metadata["labels"] = { ...labels };
  set(spec, "completionMode", "NonIndexed");
  set(spec, "suspend", false);
  set(spec, "podReplacementPolicy", spec["podFailurePolicy"] === undefined ? "TerminatingOrFailed" : "Failed");
  set(spec, "manualSelector", false);
}

export const workloadDefaults: Record<string, DefaultRule> = {
  "apps/v1.Deployment": (object) => {
    const spec = part(object, "spec");
    set(spec, "replicas", 1);
    const strategy = part(spec, "strategy");
    set(strategy, "type", "RollingUpdate");
    if (strategy["type"] === "RollingUpdate") {
      const rolling = part(strategy, "rollingUpdate");
      set(rolling, "maxUnavailable", "25%");
      set(rolling, "maxSurge", "25%");
    }
    set(spec, "revisionHistoryLimit", 10);
    set(spec, "progressDeadlineSeconds", 600);
  },
  "apps/v1.DaemonSet": (object) => {
    const spec = part(object, "spec");
    const strategy = part(spec, "updateStrategy");
    set(strategy, "type", "RollingUpdate");
    if (strategy["type"] === "RollingUpdate") {
      const rolling = part(strategy, "rollingUpdate");
      set(rolling, "maxUnavailable", 1);
      set(rolling, "maxSurge", 0);
    }
    set(spec, "revisionHistoryLimit", 10);
  },
  "apps/v1.StatefulSet": (object) => {
    const spec = part(object, "spec");
    set(spec, "podManagementPolicy", "OrderedReady");
    const strategy = part(spec, "updateStrategy");
    if (!strategy["type"]) {
      strategy["type"] = "RollingUpdate";
      part(strategy, "rollingUpdate");
    }
    if (strategy["type"] === "RollingUpdate" && strategy["rollingUpdate"] !== undefined)
      set(part(strategy, "rollingUpdate"), "partition", 0);
    const retention = part(spec, "persistentVolumeClaimRetentionPolicy");
    set(retention, "whenDeleted", "Retain");
    set(retention, "whenScaled", "Retain");
    set(spec, "replicas", 1);
    set(spec, "revisionHistoryLimit", 10);
    for (const claim of (spec["volumeClaimTemplates"] ?? []) as Fields[]) {
      set(claim, "apiVersion", "v1");
      set(claim, "kind", "PersistentVolumeClaim");
    }
  },
  "apps/v1.ReplicaSet": (object) => set(part(object, "spec"), "replicas", 1),
  "batch/v1.Job": job,
  "batch/v1.CronJob": (object) => {
    const spec = part(object, "spec");
    set(spec, "concurrencyPolicy", "Allow");
    set(spec, "suspend", false);
    set(spec, "successfulJobsHistoryLimit", 3);
    set(spec, "failedJobsHistoryLimit", 1);
  },
  "batch/v1.PodFailurePolicyOnPodConditionsPattern": (object) => set(object, "status", "True"),
  "autoscaling/v1.HorizontalPodAutoscaler": (object) => set(part(object, "spec"), "minReplicas", 1),
  "autoscaling/v2.HorizontalPodAutoscaler": (object) => {
    const spec = part(object, "spec");
    set(spec, "minReplicas", 1);
    if (isEmpty(spec["metrics"]))
      spec["metrics"] = [
        { type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 80 } } },
      ];
    const behavior = spec["behavior"] as Fields | undefined;
    if (behavior === undefined) return;
    scalingRules(behavior, "scaleUp", scaleUpPolicies, 0);
    scalingRules(behavior, "scaleDown", scaleDownPolicies, undefined);
  },
};
