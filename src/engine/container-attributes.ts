import type { Container } from "./container.ts";

/** What an event says about a container: image, name, labels. */
export function containerAttributes(container: Container): Record<string, string> {
  const config = container.record.Config;
  return { ...config.Labels, image: config.Image ?? "", name: container.name };
}
