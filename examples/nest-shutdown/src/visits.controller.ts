import { setTimeout as sleep } from 'node:timers/promises';
import { newId } from '@antiphon/replica';
import { Body, Controller, Dependencies, Get, Post, ServiceUnavailableException } from '@nestjs/common';
import { ReplicaService } from './replica.service.ts';

/** What another service needs for its answer, before there is something to write. */
const ELSEWHERE_MS = 500;

export class VisitsController {
  readonly #service: ReplicaService;

  constructor(service: ReplicaService) {
    this.#service = service;
  }

  async visit({ page }: { readonly page: string }): Promise<{ readonly id: string }> {
    const id = newId();
    await sleep(ELSEWHERE_MS);
    const insert = { sql: 'INSERT INTO visits VALUES (?, ?)', params: [id, page] };
    await this.#service.replica.execute([insert], { requestId: id });
    return { id };
  }

  async visits(): Promise<readonly unknown[]> {
    return this.#service.replica.query('SELECT id, page FROM visits ORDER BY id');
  }

  ready(): void {
    const { ready, problems } = this.#service.replica.healthcheck();
    if (!ready) throw new ServiceUnavailableException(problems);
  }
}

// What `@Controller()`, `@Post('visits')`, `@Body()` and so on do in a build by NestJS.
const method = (name: keyof VisitsController): PropertyDescriptor =>
  Object.getOwnPropertyDescriptor(VisitsController.prototype, name) ?? {};
Post('visits')(VisitsController.prototype, 'visit', method('visit'));
Body()(VisitsController.prototype, 'visit', 0);
Get('visits')(VisitsController.prototype, 'visits', method('visits'));
Get('readyz')(VisitsController.prototype, 'ready', method('ready'));
Dependencies(ReplicaService)(VisitsController);
Controller()(VisitsController);
