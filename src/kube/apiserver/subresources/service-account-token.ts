import type { KubeObject } from "#api/kube/object.ts";
import { badRequest, conflict, invalid } from "../api-error.ts";
import type { RequestContext } from "../request-context.ts";
import { type ResourceStore, timestamp } from "../resource-store.ts";
import type { Mutable, ResourceHandle } from "../resource-type.ts";
import type { BoundObject, ServiceAccountTokens } from "../service-account-tokens.ts";

interface TokenRequest extends Mutable {
  spec?: {
    audiences?: string[];
    expirationSeconds?: number;
    boundObjectRef?: { kind?: string; apiVersion?: string; name?: string; uid?: string };
  };
}

const minSeconds = 600;
const yearSeconds = 365 * 24 * 3600;
/** Clients ask for this when they want the default: such tokens live on for a year, for those who do not renew. */
const warnAfterSeconds = 3607;

/** `serviceaccounts/token`: signs a token for an account (authentication.k8s.io/v1, TokenRequest). */
export async function requestToken(
  store: ResourceStore,
  handles: { serviceAccounts: ResourceHandle; pods: ResourceHandle; secrets: ResourceHandle; nodes: ResourceHandle },
  tokens: ServiceAccountTokens,
  namespace: string,
  name: string,
  body: Mutable,
  context: RequestContext,
): Promise<KubeObject> {
  const request = body as TokenRequest;
  const { spec = {} } = request;
  const { object: account } = await store.get(handles.serviceAccounts, namespace, name);
  const seconds = spec.expirationSeconds ?? 3600;
  if (seconds < minSeconds)
    throw invalid({ group: "authentication.k8s.io", kind: "TokenRequest" }, "", [
      {
        reason: "FieldValueInvalid",
        field: "spec.expirationSeconds",
        message: `Invalid value: ${seconds}: may not specify a duration less than 10 minutes`,
      },
    ]);
  const uid = account.metadata?.uid ?? "";
  if (body.metadata?.uid && body.metadata.uid !== uid)
    throw conflict(
      { group: "", resource: "serviceaccounts" },
      name,
      `the UID in the token request (${body.metadata.uid}) does not match the UID of the service account (${uid})`,
    );
  const { bound, node } = await findBound(store, handles, namespace, name, spec.boundObjectRef);
  const audiences = spec.audiences?.length ? spec.audiences : [tokens.issuer];
  const lives = seconds === warnAfterSeconds ? yearSeconds : Math.min(seconds, yearSeconds);
  const signed = context.dryRun
    ? { token: "", expires: Date.now() + lives * 1000 }
    : await tokens.sign(
        {
          namespace,
          serviceAccount: { name, uid },
          audiences,
          ...(bound === undefined ? {} : { bound }),
          ...(node === undefined ? {} : { node }),
        },
        lives,
      );
  // The reader is told the time that it asked for, so that it renews in time.
  const expires = seconds === warnAfterSeconds ? signed.expires - (yearSeconds - seconds) * 1000 : signed.expires;
  return {
    kind: "TokenRequest",
    apiVersion: "authentication.k8s.io/v1",
    metadata: { name, namespace, creationTimestamp: timestamp(Date.now()) },
    spec: { ...spec, audiences, expirationSeconds: seconds, boundObjectRef: spec.boundObjectRef ?? null },
    status: { token: signed.token, expirationTimestamp: timestamp(expires) },
  } as KubeObject;
}

async function findBound(
  store: ResourceStore,
  handles: { pods: ResourceHandle; secrets: ResourceHandle; nodes: ResourceHandle },
  namespace: string,
  account: string,
  ref: { kind?: string; name?: string; uid?: string } | undefined,
): Promise<{ bound?: BoundObject; node?: { name: string; uid: string } }> {
  if (ref === undefined || ref === null) return {};
  const { kind, name = "" } = ref;
  if (kind !== "Pod" && kind !== "Secret" && kind !== "Node")
    throw badRequest(
      `cannot bind token for serviceaccount ${JSON.stringify(account)} to resource type ${JSON.stringify(kind ?? "")}`,
    );
  const handle = { Pod: handles.pods, Secret: handles.secrets, Node: handles.nodes }[kind];
  const { object } = await store.get(handle, kind === "Node" ? "" : namespace, name);
  const uid = object.metadata?.uid ?? "";
  if (ref.uid && ref.uid !== uid)
    throw conflict(
      handle.type,
      name,
      `the UID in the bound object reference (${ref.uid}) does not match the UID in record. The object might have been deleted and then recreated`,
    );
  if (kind !== "Pod") return { bound: { kind, name, uid } };
  const { spec } = object as { spec?: { serviceAccountName?: string; nodeName?: string } };
  if (spec?.serviceAccountName !== account)
    throw badRequest(
      `cannot bind token for serviceaccount ${JSON.stringify(account)} to pod running with different serviceaccount name.`,
    );
  if (!spec.nodeName) return { bound: { kind, name, uid } };
  const { cache } = handles.nodes;
  await cache.ready();
  const nodeUid = cache.get(cache.keyOf("", spec.nodeName))?.object.metadata?.uid ?? "";
  return { bound: { kind, name, uid }, node: { name: spec.nodeName, uid: nodeUid } };
}
