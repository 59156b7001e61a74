import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Router } from "./router.ts";

function dockerLike(): Router<string> {
  return new Router<string>()
    .add("GET", "/containers/json", "list")
    .add("POST", "/containers/create", "create")
    .add("GET", "/containers/{id}/json", "inspect")
    .add("GET", "/images/{name...}/json", "image")
    .add("GET", "/images/json", "images")
    .add("DELETE", "/images/{name...}", "rmi")
    .add("POST", "/images/{name...}/push", "push");
}

test("a literal wins over a parameter", () => {
  assert.equal(dockerLike().find("GET", "/containers/json")?.value, "list");
  assert.deepEqual(dockerLike().find("GET", "/containers/a%20b/json"), { value: "inspect", params: { id: "a b" } });
});

test("a tail in the middle takes as many segments as it can", () => {
  const found = dockerLike().find("GET", "/images/localhost:5000/a/json/json");
  assert.deepEqual(found, { value: "image", params: { name: "localhost:5000/a/json" } });
  assert.equal(dockerLike().find("GET", "/images/json")?.value, "images");
  assert.deepEqual(dockerLike().find("DELETE", "/images/a/b:c")?.params, { name: "a/b:c" });
});

test("a path that fits under other methods only gives those", () => {
  assert.equal(dockerLike().find("PUT", "/containers/json"), undefined);
  assert.deepEqual(dockerLike().methods("/containers/json"), ["GET"]);
  assert.deepEqual(dockerLike().methods("/nowhere"), []);
});

test("empty segments fit no parameter", () => {
  assert.equal(dockerLike().find("GET", "/containers//json"), undefined);
  assert.equal(dockerLike().find("GET", "/images//json"), undefined);
});

test("broken percent-encoding is the caller's mistake", () => {
  assert.throws(() => dockerLike().find("GET", "/containers/%zz/json"), { code: "invalid" });
});

test("the same route twice is a programmer's mistake", () => {
  assert.throws(() => dockerLike().add("GET", "/containers/{other}/json", "again"));
});

test("any path built from a pattern is found with its parameters, and any other text does no harm", () => {
  const segment = fc.string({ minLength: 1, maxLength: 8, unit: "grapheme" });
  fc.assert(
    fc.property(segment, fc.array(segment, { minLength: 1, maxLength: 4 }), (one, many) => {
      const router = new Router<string>().add("GET", "/x/{a}/y/{b...}/z", "found");
      const path = `/x/${encodeURIComponent(one)}/y/${many.map(encodeURIComponent).join("/")}/z`;
      assert.deepEqual(router.find("GET", path)?.params, { a: one, b: many.join("/") });
    }),
  );
  fc.assert(
    fc.property(fc.string({ maxLength: 60 }), (path) => {
      try {
        dockerLike().find("GET", path);
      } catch (error) {
        assert.equal((error as { code?: string }).code, "invalid");
      }
    }),
  );
});
