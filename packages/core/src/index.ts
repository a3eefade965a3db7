/**
 * The core of Evenkeel: keys, filters, selectors, leases and the balancer, and the ports that policies plug into.
 */
export * as Balancer from "./Balancer.ts"
export * as Breaker from "./Breaker.ts"
export * as Candidate from "./Candidate.ts"
export * as Credits from "./Credits.ts"
export * as Errors from "./Errors.ts"
export * as Filter from "./Filter.ts"
export * as Key from "./Key.ts"
export * as KeyConfig from "./KeyConfig.ts"
export * as KeyPool from "./KeyPool.ts"
export * as Lease from "./Lease.ts"
export * as Outcome from "./Outcome.ts"
export * as PoolEvent from "./PoolEvent.ts"
export * as RetryPolicy from "./RetryPolicy.ts"
export * as Selector from "./Selector.ts"
export * as SharedFacts from "./SharedFacts.ts"
