// The key of the HMAC is fixed and public: it only makes the ids Evenkeel's own, so that they match no hash of the
// same secret that is kept elsewhere. What protects the secret is its 256 bits of entropy.
const domain = new TextEncoder().encode("evenkeel/key-id/v1")

/** Ten hexadecimal digits: 40 bits, so that 1,000 keys collide once in two million pools. */
export const keyedHash = async (secret: string): Promise<string> => {
  const key = await crypto.subtle.importKey("raw", domain, { name: "HMAC", hash: "SHA-256" }, false, ["sign"])
  const tag = new Uint8Array(await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(secret)))
  return Array.from(tag.subarray(0, 5), (byte) => byte.toString(16).padStart(2, "0")).join("")
}
