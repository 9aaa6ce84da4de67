import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { ReplicaService } from './replica.service.ts';
import { VisitsController } from './visits.controller.ts';

class AppModule {}
Module({ controllers: [VisitsController], providers: [ReplicaService] })(AppModule);

// A connection whose request ends while the service closes keeps the process for so long.
const adapter = new FastifyAdapter({ keepAliveTimeout: 1000 });
const app = await NestFactory.create<NestFastifyApplication>(AppModule, adapter, { logger: ['error'] });
// Without it a signal ends the process at once, and no hook is called.
app.enableShutdownHooks(['SIGINT', 'SIGTERM'], { useProcessExit: true });
await app.listen(Number(process.env['PORT'] ?? 0), '127.0.0.1');
process.send?.({ url: await app.getUrl() });
