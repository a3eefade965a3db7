/**
 * A quick hash of texts, the same in every process: MurmurHash3 of 32 bits (A. Appleby, public domain) over UTF-16 units.
 *
 * It is not keyed: who chooses affinities on purpose can make them meet on one key. What bounds that is the bound on load.
 */

/** 32 bits, signed. */
export const hashOf = (text: string): number => {
  let hash = 0
  for (let i = 0; i < text.length; i++) {
    const unit = Math.imul(text.charCodeAt(i), 0xcc9e2d51)
    hash ^= Math.imul((unit << 15) | (unit >>> 17), 0x1b873593)
    hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0
  }
  return avalanche(hash ^ text.length)
}

/** A number above 0 and below 1 for a pair of hashes; pairs that differ in one of them are as good as independent. */
export const unitOf = (a: number, b: number): number =>
  ((avalanche(a ^ Math.imul(b, 0x9e3779b1)) >>> 0) + 0.5) / 4294967296

const avalanche = (hash: number): number => {
  let mixed = hash
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return mixed ^ (mixed >>> 16)
}
