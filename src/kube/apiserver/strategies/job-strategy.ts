import { cloneJson } from "../json-clone.ts";
import type { Mutable, Strategy } from "../resource-type.ts";

interface JobObject extends Mutable {
  spec?: {
    manualSelector?: boolean;
    selector?: { matchLabels?: Record<string, string> };
    template?: { metadata?: { labels?: Record<string, string> } };
  };
}

/** A Job selects its pods by its own uid, which its template's labels carry (kubernetes, registry/batch/job). */
export const jobStrategy: Strategy = {
  countsGeneration: true,
  initialStatus: {},
  prepareCreate(object) {
    const job = object as JobObject;
    const { spec, metadata } = job;
    if (spec === undefined || spec.manualSelector === true || metadata?.uid === undefined) return;
    const { uid, name = "" } = metadata;
    const template = (spec.template ??= {});
    template.metadata = {
      ...template.metadata,
      labels: {
        ...template.metadata?.labels,
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
      },
    };
    spec.selector = cloneJson(spec.selector ?? {});
    spec.selector.matchLabels = { ...spec.selector.matchLabels, "batch.kubernetes.io/controller-uid": uid };
  },
};
