/** What all processes of the fleet must agree on. */
export const sharing = { namespace: "fleet-example", heartbeat: "2 seconds" } as const
export const keyIds = ["alpha", "beta", "gamma", "delta"]
