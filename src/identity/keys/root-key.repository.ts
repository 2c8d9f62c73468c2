import { Injectable } from '@nestjs/common';
import { PrismaService } from '../../database/prisma.service.js';

export interface AcceptedRootKey {
  fingerprint: string;
  accessKeyId: string;
  acceptedAt: Date;
}

type NewRootKey = Omit<AcceptedRootKey, 'acceptedAt'>;

/** The root keys this database is used with. */
@Injectable()
export class RootKeyRepository {
  constructor(private readonly prisma: PrismaService) {}

  async accepted(): Promise<AcceptedRootKey[]> {
    return this.prisma.rootKey.findMany({ orderBy: { acceptedAt: 'asc' } });
  }

  /** Accepts the key where none is yet; of several processes that start at once, one is the first. @returns what is accepted now */
  async acceptFirst(key: NewRootKey): Promise<AcceptedRootKey[]> {
    return this.prisma.$transaction(async (tx) => {
      await tx.$executeRaw`LOCK TABLE root_key IN SHARE ROW EXCLUSIVE MODE`;
      const accepted = await tx.rootKey.findMany({ orderBy: { acceptedAt: 'asc' } });
      return accepted.length > 0 ? accepted : [await tx.rootKey.create({ data: key })];
    });
  }

  /** Accepts this key and no other. */
  async acceptOnly(key: NewRootKey): Promise<void> {
    await this.prisma.$transaction(async (tx) => {
      await tx.$executeRaw`LOCK TABLE root_key IN SHARE ROW EXCLUSIVE MODE`;
      await tx.rootKey.deleteMany();
      await tx.rootKey.create({ data: key });
    });
  }
}
