import type { PodRuntime, RuntimeImage } from "#api/pod-runtime.ts";
import type { Clock } from "#base/clock.ts";
import { GantryError } from "#base/errors.ts";
import type { Handlers, ImageRequests, ImageSpec } from "./messages.ts";
import { nanoseconds } from "./status-messages.ts";

function imageMessage(image: RuntimeImage): object {
  const { id, repoTags, repoDigests, sizeBytes, uid, username } = image;
  return {
    id,
    repoTags,
    repoDigests,
    size: sizeBytes,
    spec: { image: id },
    ...(uid === undefined ? {} : { uid: { value: uid } }),
    ...(username === undefined ? {} : { username }),
  };
}

function nameOf(spec: ImageSpec | null): string {
  if (spec === null || spec.image === "") throw new GantryError("invalid", "image reference is empty");
  return spec.image;
}

/** `runtime.v1.ImageService` over the port. */
export function imageHandlers(parts: { runtime: PodRuntime; clock: Clock }): Handlers<ImageRequests> {
  const { runtime, clock } = parts;
  return {
    async ListImages({ filter }) {
      const name = filter?.image?.image ?? "";
      const image = name === "" ? undefined : await runtime.imageStatus(name);
      const images = name === "" ? await runtime.listImages() : image === undefined ? [] : [image];
      return { images: images.map(imageMessage) };
    },
    async ImageStatus({ image: spec }) {
      const image = await runtime.imageStatus(nameOf(spec));
      return image === undefined ? {} : { image: imageMessage(image) };
    },
    async PullImage({ image, auth }) {
      if (auth !== null && auth.registryToken !== "") {
        throw new GantryError("unsupported", "a registry token is not supported; use an identity token or a password");
      }
      const given = Object.entries({
        username: auth?.username,
        password: auth?.password,
        auth: auth?.auth,
        identityToken: auth?.identityToken,
      }).filter(([, value]) => value);
      const imageRef = await runtime.pullImage(
        nameOf(image),
        given.length === 0 ? undefined : Object.fromEntries(given),
      );
      return { imageRef };
    },
    async RemoveImage({ image }) {
      await runtime.removeImage(nameOf(image));
      return {};
    },
    async ImageFsInfo() {
      const { path, usedBytes, inodesUsed } = await runtime.imageFsInfo();
      const usage = {
        timestamp: nanoseconds(clock.now()),
        fsId: { mountpoint: path ?? "" },
        usedBytes: { value: usedBytes },
        inodesUsed: { value: inodesUsed },
      };
      return { imageFilesystems: [usage], containerFilesystems: [usage] };
    },
  };
}

/** The streaming form of the list: one message with everything. */
export function imageStreams(
  handlers: Handlers<ImageRequests>,
): Record<string, (request: ImageRequests["ListImages"]) => AsyncIterable<object>> {
  return {
    async *StreamImages(request) {
      yield await handlers.ListImages(request);
    },
  };
}
