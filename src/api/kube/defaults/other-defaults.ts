/** Defaults of the remaining groups (Kubernetes 1.36). */
import { type DefaultRule, isEmpty, part, set, type Fields } from "./rule.ts";

const rbac = "rbac.authorization.k8s.io";
const roleRef: DefaultRule = (object) => set(part(object, "roleRef"), "apiGroup", rbac);
const port443: DefaultRule = (object) => set(object, "port", 443);
const failurePolicy: DefaultRule = (object) => set(object, "failurePolicy", "Fail");

function webhook(object: Fields): void {
  set(object, "failurePolicy", "Fail");
  set(object, "matchPolicy", "Equivalent");
  set(object, "namespaceSelector", {});
  set(object, "objectSelector", {});
  set(object, "timeoutSeconds", 10);
}

export const otherDefaults: Record<string, DefaultRule> = {
  "networking/v1.NetworkPolicyPort": (object) => set(object, "protocol", "TCP"),
  "networking/v1.NetworkPolicy": (object) => {
    const spec = part(object, "spec");
    if (isEmpty(spec["policyTypes"]))
      spec["policyTypes"] = isEmpty(spec["egress"]) ? ["Ingress"] : ["Ingress", "Egress"];
  },
  "networking/v1.IngressClass": (object) => {
    const parameters = (object["spec"] as Fields | undefined)?.["parameters"] as Fields | undefined;
    if (parameters !== undefined) set(parameters, "scope", "Cluster");
  },
  "rbac/v1.ClusterRoleBinding": roleRef,
  "rbac/v1.RoleBinding": roleRef,
  "rbac/v1.Subject": (object) => {
    if (object["kind"] === "User" || object["kind"] === "Group") set(object, "apiGroup", rbac);
  },
  "storage/v1.StorageClass": (object) => {
    set(object, "reclaimPolicy", "Delete");
    set(object, "volumeBindingMode", "Immediate");
  },
  "storage/v1.CSIDriver": (object) => {
    const spec = part(object, "spec");
    set(spec, "attachRequired", true);
    set(spec, "podInfoOnMount", false);
    set(spec, "storageCapacity", false);
    set(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    if (isEmpty(spec["volumeLifecycleModes"])) spec["volumeLifecycleModes"] = ["Persistent"];
    set(spec, "requiresRepublish", false);
    set(spec, "seLinuxMount", false);
  },
  "discovery/v1.EndpointPort": (object) => {
    if (object["name"] === undefined) object["name"] = "";
    set(object, "protocol", "TCP");
  },
  "scheduling/v1.PriorityClass": (object) => set(object, "preemptionPolicy", "PreemptLowerPriority"),
  "admissionregistration/v1.ValidatingWebhook": webhook,
  "admissionregistration/v1.MutatingWebhook": (object) => {
    webhook(object);
    set(object, "reinvocationPolicy", "Never");
  },
  "admissionregistration/v1.Rule": (object) => set(object, "scope", "*"),
  "admissionregistration/v1.RuleWithOperations": (object) => set(object, "scope", "*"),
  "admissionregistration/v1.NamedRuleWithOperations": (object) => set(object, "scope", "*"),
  "admissionregistration/v1.ServiceReference": port443,
  "apiregistration/v1.ServiceReference": port443,
  "apiextensions/v1.ServiceReference": port443,
  "admissionregistration/v1.ValidatingAdmissionPolicySpec": failurePolicy,
  "admissionregistration/v1.MutatingAdmissionPolicySpec": failurePolicy,
  "admissionregistration/v1.MatchResources": (object) => {
    set(object, "matchPolicy", "Equivalent");
    set(object, "namespaceSelector", {});
    set(object, "objectSelector", {});
  },
  "flowcontrol/v1.FlowSchemaSpec": (object) => {
    if (!object["matchingPrecedence"]) object["matchingPrecedence"] = 1000;
  },
  "flowcontrol/v1.ExemptPriorityLevelConfiguration": (object) => {
    set(object, "nominalConcurrencyShares", 0);
    set(object, "lendablePercent", 0);
  },
  "flowcontrol/v1.LimitedPriorityLevelConfiguration": (object) => {
    set(object, "nominalConcurrencyShares", 30);
    set(object, "lendablePercent", 0);
  },
  "flowcontrol/v1.QueuingConfiguration": (object) => {
    object["handSize"] ||= 8;
    object["queues"] ||= 64;
    object["queueLengthLimit"] ||= 50;
  },
  "certificates/v1.CertificateSigningRequestSpec": (object) => {
    if (isEmpty(object["usages"])) object["usages"] = ["digital signature", "key encipherment"];
  },
  "apiextensions/v1.CustomResourceDefinition": (object) => {
    const spec = part(object, "spec");
    const names = part(spec, "names");
    const kind = typeof names["kind"] === "string" ? names["kind"] : "";
    set(names, "singular", kind.toLowerCase());
    if (kind !== "") set(names, "listKind", `${kind}List`);
    set(spec, "conversion", { strategy: "None" });
    const status = part(object, "status");
    if (isEmpty(status["storedVersions"])) {
      const stored = ((spec["versions"] ?? []) as Fields[]).find((version) => version["storage"] === true);
      if (stored !== undefined) status["storedVersions"] = [stored["name"]];
    }
  },
};
