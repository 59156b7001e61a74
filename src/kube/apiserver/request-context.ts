import type { UserInfo } from "./user.ts";

export type FieldValidation = "Strict" | "Warn" | "Ignore";

/** What every operation knows about the request that it serves. */
export interface RequestContext {
  user: UserInfo;
  /** Texts for `Warning` headers; operations add to it. */
  warnings: string[];
  dryRun: boolean;
  fieldManager: string;
  /** Server-side apply: take fields over. */
  force: boolean;
  /** The change is an apply: ownership of fields is settled already. */
  applying?: boolean;
  fieldValidation: FieldValidation;
}

/** A context without options. */
export function contextFor(user: UserInfo, options: Partial<RequestContext> = {}): RequestContext {
  return { user, warnings: [], dryRun: false, fieldManager: "", force: false, fieldValidation: "Ignore", ...options };
}
