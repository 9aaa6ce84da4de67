import { clusterCases } from './testing/cluster-cases.js';

clusterCases('nats');
