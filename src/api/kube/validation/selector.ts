import type { LabelSelector } from "../generated/types.ts";
import { labelValueForm, qualifiedName } from "./names.ts";
import { validateLabels } from "./object-meta.ts";
import type { Problems } from "./problems.ts";

const operators = ["DoesNotExist", "Exists", "In", "NotIn"];

/** Checks a label selector (apimachinery, ValidateLabelSelector). */
export function validateSelector(problems: Problems, field: string, selector: LabelSelector | undefined): void {
  if (selector === undefined) return;
  validateLabels(problems, `${field}.matchLabels`, selector.matchLabels);
  for (const [at, rule] of (selector.matchExpressions ?? []).entries()) {
    const here = `${field}.matchExpressions[${at}]`;
    const values = rule.values ?? [];
    if (rule.operator === "In" || rule.operator === "NotIn") {
      if (values.length === 0)
        problems.required(`${here}.values`, "must be specified when `operator` is 'In' or 'NotIn'");
    } else if (rule.operator === "Exists" || rule.operator === "DoesNotExist") {
      if (values.length > 0)
        problems.forbidden(`${here}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    } else if (!operators.includes(rule.operator))
      problems.invalid(`${here}.operator`, rule.operator, "not a valid selector operator");
    problems.invalidEach(`${here}.key`, rule.key, qualifiedName(rule.key ?? ""));
    for (const [index, value] of values.entries())
      problems.invalidEach(`${here}.values[${index}]`, value, labelValueForm(value));
  }
}

export function isEmptySelector(selector: LabelSelector | undefined): boolean {
  return Object.keys(selector?.matchLabels ?? {}).length + (selector?.matchExpressions ?? []).length === 0;
}
