import { z } from 'zod';

/**
 * The channel between a replica process and the one that started it (`up`, `demo`): an IPC channel
 * of Node. The kernel closes it when the parent is gone, however it went, also by kill -9; a
 * replica that was started this way then ends.
 */
const reportSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('ready'), pid: z.number() }),
  /** The start gets on. */
  z.object({ type: z.literal('progress') }),
  z.object({
    type: z.literal('lifecycle'),
    state: z.string(),
    /** Why it is stalled, holding or failed. */
    reason: z.object({ code: z.string(), message: z.string() }).optional(),
  }),
  z.object({
    type: z.literal('failed'),
    code: z.string(),
    message: z.string(),
  }),
]);

export type ChildReport = z.infer<typeof reportSchema>;

/** Undefined for anything else: a newer or foreign child is no reason to fail. */
export function parseReport(message: unknown): ChildReport | undefined {
  return reportSchema.safeParse(message).data;
}

/** In the child. Does nothing without a parent. */
export function reportToParent(report: ChildReport): void {
  if (process.send === undefined || !process.connected) return;
  process.send(report, undefined, {}, () => {
    // A parent that is gone needs no report.
  });
}

/** In the child: calls `gone` once when the parent has ended. Does nothing without a parent. */
export function onParentGone(gone: () => void): void {
  if (process.send === undefined) return;
  if (!process.connected) return gone();
  process.once('disconnect', gone);
  // The channel alone must not keep a replica alive that has come to its end.
  process.channel?.unref();
}
