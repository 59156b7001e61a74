import type { KubeObject, OwnerReference, ResourceRef } from "#api/kube/object.ts";
import { hasCode } from "#base/errors.ts";
import { type LabelSelector, matchesLabels } from "#base/label-selector.ts";
import type { KubeClient } from "#kube/client/client.ts";
import { controllerOf } from "./controller-parts.ts";

export interface ClaimOptions {
  client: KubeClient;
  resource: ResourceRef;
  owner: KubeObject;
  reference: OwnerReference;
  selector: LabelSelector;
}

/**
 * Of `candidates` (one namespace's), those that `owner` controls and selects. Orphans that match are adopted,
 * owned ones that match no more are released (controller.ControllerRefManager).
 */
export async function claim<T extends KubeObject>(candidates: readonly T[], options: ClaimOptions): Promise<T[]> {
  const { client, resource, owner, reference, selector } = options;
  const claimed: T[] = [];
  for (const object of candidates) {
    const controller = controllerOf(object);
    const matches = matchesLabels(selector, object.metadata?.labels);
    const { namespace, name, uid } = object.metadata ?? {};
    if (controller !== undefined) {
      if (controller.uid !== reference.uid) continue;
      if (matches) {
        claimed.push(object);
      } else if (owner.metadata?.deletionTimestamp === undefined) {
        const patch = { metadata: { uid, ownerReferences: [{ $patch: "delete", uid: reference.uid }] } };
        await quietly(
          client.patch(resource, namespace, name as string, "application/strategic-merge-patch+json", patch),
        );
      }
      continue;
    }
    if (!matches || object.metadata?.deletionTimestamp !== undefined || owner.metadata?.deletionTimestamp !== undefined)
      continue;
    const patch = { metadata: { uid, ownerReferences: [reference] } };
    const adopted = await quietly(
      client.patch<T>(resource, namespace, name as string, "application/strategic-merge-patch+json", patch),
    );
    if (adopted !== undefined) claimed.push(adopted);
  }
  return claimed;
}

/** The object went away or became another one meanwhile: then there is nothing to claim. */
async function quietly<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (hasCode(error, "not-found", "conflict", "invalid")) return undefined;
    throw error;
  }
}
