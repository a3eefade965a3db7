/**
 * Which names and addresses are this machine's own.
 */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { NetAddress } from "effect/net"

/** Whether a name or an address, an IPv6 one with or without brackets, never leaves this machine. */
export const isLoopback = (host: string): boolean => {
  const name = host.toLowerCase().replace(/^\[(.*)\]$/, "$1")
  // Names under it are loopback's too (RFC 6761, section 6.3).
  if (name === "localhost" || name.endsWith(".localhost")) return true
  const address = NetAddress.ipFromString(name)
  if (Result.isFailure(address)) return false
  if (NetAddress.isLoopback(address.success)) return true
  const mapped = NetAddress.isIpv6Address(address.success)
    ? NetAddress.fromIpv4Mapped(address.success)
    : Option.none()
  return Option.isSome(mapped) && NetAddress.isLoopback(mapped.value)
}
