import { randomInt } from "node:crypto";
import { GantryError } from "#base/errors.ts";

const adjectives = `amber ample azure balmy bold brave breezy bright brisk calm candid cheerful clear clever cosy crisp
curious daring deft eager earnest easy fair fearless festive fleet fond frank fresh gentle glad golden graceful grand
handy hardy hearty honest humble jolly keen kind lively loyal lucid lucky mellow merry mighty mild modest neat nimble
noble patient placid plucky polite proud quick quiet rapid ready robust rosy serene sharp shining silent silver sincere
smart snug solid sound sparkling spry stable steady stout sturdy sunny sure swift tender tidy tranquil trusty upbeat
valiant vivid warm watchful whole willing wise witty zesty`.split(/\s+/);

const surnames =
  `abel agnesi ampere anning archimedes babbage banneker barkla bell bernoulli bessemer blackwell bohr boole
bose brahe braille brunel burnell cannon capstan carson cauchy cayley chadwick clement copernicus cori coulomb crane
curie dalton davit derrick descartes diesel dirac dock doppler edison eiffel erdos euclid euler fairbairn faraday fender
fermat fermi fibonacci fourier fresnel galilei galois gauss germain goodall goldberg halyard harbour hawser heaviside
herschel hertz hilbert hodgkin hooke hopper huygens jacquard joule kelvin kepler kovalevskaya lagrange lamarr laplace
leavitt leibniz lighthouse linnaeus lovelace maxwell mccarthy meitner mendel mercator mooring morse napier newton
nightingale noether oersted ohm pallet pascal pasteur pauling perlman pier planck poincare pulley quay ramanujan riemann
rigger ritchie roentgen rubin rutherford sheave shannon sling somerville spreader stevedore stokes tesla thompson
trimmer turing volta wharf watt weber wharton winch windlass wright yalow yard`.split(/\s+/);

/** A name that nobody has yet, as docker gives to a container without one: `swift_windlass`. */
export function randomName(isTaken: (name: string) => boolean): string {
  for (let attempt = 0; ; attempt++) {
    const name = `${adjectives[randomInt(adjectives.length)]}_${surnames[randomInt(surnames.length)]}`;
    const numbered = attempt < 6 ? name : `${name}${randomInt(10 ** Math.min(attempt - 5, 9))}`;
    if (!isTaken(numbered)) return numbered;
  }
}

/** A container's name without its slash. Throws docker's sentence for characters that it does not take. */
export function checkName(name: string): string {
  const bare = name.startsWith("/") ? name.slice(1) : name;
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/.test(bare)) {
    throw new GantryError("invalid", `Invalid container name (${bare}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`);
  }
  return bare;
}
