/**
 * Kinds that are stored and served, but that nothing in Gantry acts on yet: who creates one is told so in a
 * warning. A line goes when its feature comes. By `group/Kind`.
 */
export const notInForce: ReadonlyMap<string, string> = new Map([
  ["/ReplicationController", "no controller makes its pods"],
  ["/ResourceQuota", "quotas are not enforced"],
  ["/LimitRange", "limits are neither filled in nor enforced"],
  ["/PersistentVolumeClaim", "no volume is provisioned or bound"],
  ["/PersistentVolume", "it is not bound to claims"],
  ["apps/StatefulSet", "no controller makes its pods"],
  ["apps/DaemonSet", "no controller makes its pods"],
  ["batch/Job", "no controller makes its pods"],
  ["batch/CronJob", "no controller makes its jobs"],
  ["autoscaling/HorizontalPodAutoscaler", "nothing is scaled"],
  ["policy/PodDisruptionBudget", "its status is not computed, so that it allows no eviction"],
  ["networking.k8s.io/Ingress", "no traffic is routed"],
  ["networking.k8s.io/NetworkPolicy", "no traffic is filtered"],
  ["networking.k8s.io/ServiceCIDR", "Service addresses come from the server's own range only"],
  ["certificates.k8s.io/CertificateSigningRequest", "nothing signs it"],
  ["apiextensions.k8s.io/CustomResourceDefinition", "the resource that it defines is not served"],
  ["apiregistration.k8s.io/APIService", "requests are not passed on"],
  ["admissionregistration.k8s.io/MutatingWebhookConfiguration", "the webhooks are not called"],
  ["admissionregistration.k8s.io/ValidatingWebhookConfiguration", "the webhooks are not called"],
  ["admissionregistration.k8s.io/ValidatingAdmissionPolicy", "the policy is not evaluated"],
  ["admissionregistration.k8s.io/ValidatingAdmissionPolicyBinding", "the policy is not evaluated"],
  ["admissionregistration.k8s.io/MutatingAdmissionPolicy", "the policy is not evaluated"],
  ["admissionregistration.k8s.io/MutatingAdmissionPolicyBinding", "the policy is not evaluated"],
  ["flowcontrol.apiserver.k8s.io/FlowSchema", "requests are not queued by it"],
  ["flowcontrol.apiserver.k8s.io/PriorityLevelConfiguration", "requests are not queued by it"],
  ["storage.k8s.io/VolumeAttachment", "nothing is attached"],
  ["resource.k8s.io/ResourceClaim", "no device is allocated"],
]);
