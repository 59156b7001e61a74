/** Compares the tables with the models of `@kubernetes/client-node`. */
import { scheme } from "../../src/api/kube/scheme.ts";
import { readModel } from "./model-source.ts";

/** Sentences, one for each field that only one side has. Throws when next to nothing was compared. */
export function modelDifferences(): string[] {
  const out: string[] = [];
  let compared = 0;
  for (const object of scheme.everyObject()) {
    const model = readModel(object);
    if (model === undefined) continue;
    compared++;
    // The package writes kind and apiVersion out where Go inlines them; names such as $ref are spelt otherwise.
    const ours = new Set([...object.fields.keys()].filter((name) => !name.startsWith("$")));
    const theirs = new Set([...model.fields.keys()].filter((name) => !name.startsWith("$")));
    for (const name of ours)
      if (!theirs.has(name)) out.push(`${object.table} ${object.name}.${name} is not in @kubernetes/client-node`);
    for (const name of theirs)
      if (!ours.has(name)) out.push(`${object.table} ${object.name}.${name} is in @kubernetes/client-node only`);
  }
  if (compared < 500) throw new Error(`only ${compared} types were compared: the comparison is broken`);
  return out;
}
