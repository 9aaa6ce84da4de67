/** Origin → highest counter applied, without holes below. A missing origin counts as 0. */
export type VectorClock = Readonly<Record<string, number>>;
