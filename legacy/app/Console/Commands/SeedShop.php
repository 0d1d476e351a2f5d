<?php

namespace App\Console\Commands;

use Illuminate\Console\Command;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Schema;
use InvalidArgumentException;
use RuntimeException;

/**
 * Fills an empty shop with customers user1@example.com, user2@example.com, … whose password is "secret".
 * The same users and seed give the same rows, dates included.
 */
class SeedShop extends Command
{
    const USERS_PER_BATCH = 250;

    /** The newest row is from then. */
    const BASE = '2025-09-30 18:00:00';

    /** bcrypt of "secret", 10 rounds; hashing it for everybody would take minutes. */
    const PASSWORD = '$2y$10$nLirinfX6G3cHLcr1hu7XO.EiMe0hIghVh4Zu6hiNdJa.crtQWrnS';

    const MERCHANTS = [
        ['Bäckerei Grünwald', 'food', 'DE'], ['Kaffeehaus Sacher & Söhne', 'food', 'AT'], ['Stadtwerke Köln', 'utilities', 'DE'],
        ['Bücher Weiß', 'books', 'DE'], ['Fahrrad Østergaard', 'sports', 'DK'], ['Café Señorita', 'food', 'ES'],
        ['Möbel Höffner-Lang', 'home', 'DE'], ['Fernbus 24', 'travel', 'DE'], ['Apotheke am Zoo', 'health', 'DE'], ['Kino Babylon', 'leisure', 'DE'],
    ];

    const FIRST = ['Anna', 'Jürgen', 'Zoë', 'Mehmet', 'Søren', 'Łucja', 'Chloé', 'Björn', 'Ines', 'Paul', 'Käthe', 'Noah'];

    const LAST = ['Müller', 'Schmidt', 'Groß', 'Yılmaz', 'Nowak', 'Dvořák', 'Jensen', 'Weber', 'Núñez', 'Fischer', 'O\'Brien', 'Böhm'];

    const SALUTATIONS = [null, null, null, 'Frau Müller', 'Herr Dr. Groß', 'Señora Núñez', 'liebe Käthe', 'Monsieur Lefèvre'];

    const NEWS = [
        ['system', 'New: payments by phone 📱', "Hold your phone to the reader – done 🎉\nIt works from Android 9 and iOS 14 on.", ['campaign' => 'phone-2025', 'variant' => 'B']],
        ['system', 'Our terms change on 1 October', 'Please read §§ 4–7 of the new terms: "fees", <limits> & notice periods.', null],
        ['security', 'New login from Berlin', 'If that was not you, change your password.', ['ip' => '203.0.113.7', 'trusted' => false]],
        ['reminder', 'Please verify your identity', null, ['steps' => ['passport', 'selfie'], 'done' => []]],
        ['reminder', 'Your month so far', 'You spent less than last month 👍', ['amount' => 318.4, 'change' => -0.12, 'details' => []]],
    ];

    protected $signature = 'db:seed-shop {--users=2000 : How many customers} {--seed=1 : The same seed gives the same rows}';

    protected $description = 'Create the tables where they are missing, and fill them with customers';

    private int $now;

    private int $paymentId = 0;

    private int $notificationId = 0;

    /** @var array<int, int> cents by merchant id */
    private array $balances = [];

    /** @var array<string, array[]> rows to be inserted, by table */
    private array $rows = [];

    public function handle()
    {
        $users = (int) $this->option('users');
        if ($users < 1 || $users > 1000000) {
            throw new InvalidArgumentException('--users must be from 1 to 1000000');
        }
        $this->createTables();
        if (DB::table('users')->exists()) {
            throw new RuntimeException('There are users already; only an empty shop is filled.');
        }
        mt_srand((int) $this->option('seed'));
        $this->now = strtotime(self::BASE);
        $this->merchants();
        $bar = $this->output->createProgressBar($users);
        $bar->setFormat(' seeding users %current%/%max% [%bar%] %percent:3s%% %elapsed%');
        $bar->start();
        for ($id = 1; $id <= $users; $id++) {
            $this->user($id, $users);
            if ($id % self::USERS_PER_BATCH === 0 || $id === $users) {
                $this->flush();
                $bar->setProgress($id);
            }
        }
        foreach ($this->balances as $merchant => $cents) {
            DB::table('merchants')->where('id', $merchant)->update(['balance' => $this->decimal($cents)]);
        }
        $bar->finish();
        $this->line('');

        return 0;
    }

    private function createTables(): void
    {
        if (Schema::hasTable('users')) {
            return;
        }
        $sql = preg_replace('/^--.*$/m', '', file_get_contents(database_path('schema.sql')));
        foreach (array_filter(array_map('trim', explode(';', $sql))) as $statement) {
            DB::statement($statement);
        }
    }

    private function merchants(): void
    {
        foreach (self::MERCHANTS as [$name, $category, $country]) {
            $this->rows['merchants'][] = compact('name', 'category', 'country') + $this->stamps($this->at(900, 800));
        }
    }

    private function user(int $id, int $users): void
    {
        $joined = $this->at(760, 400);
        $this->rows['users'][] = [
            'id' => $id, 'email' => "user$id@example.com", 'password' => self::PASSWORD,
            'name' => $this->pick(self::FIRST).' '.$this->pick(self::LAST),
            'phone' => $this->chance(40) ? '+49 30 '.mt_rand(1000000, 9999999) : null,
            'kyc_level' => $this->pick(['none', 'basic', 'basic', 'full']),
            'is_admin' => (int) ($id === $users),
            'last_login_at' => $this->chance(15) ? '0000-00-00 00:00:00' : $this->at(60, 0),
        ] + $this->stamps($joined);
        if ($this->chance(85)) {
            $this->rows['notification_preferences'][] = [
                'user_id' => $id,
                'email_enabled' => (int) $this->chance(80), 'sms_enabled' => (int) $this->chance(20),
                'digest' => $this->pick(['none', 'none', 'daily', 'weekly']),
                'salutation' => $this->pick(self::SALUTATIONS),
                'max_per_day' => $this->pick([20, 20, 20, 5, 100]),
                'quiet_hours' => $this->chance(20) ? '{"from":"22:00","to":"07:00"}' : null,
            ] + $this->stamps($joined);
        }
        for ($n = mt_rand(0, 4); $n > 0; $n--) {
            $this->payment($id);
        }
        for ($n = mt_rand(2, 4); $n > 0; $n--) {
            $this->notification($id, $this->pick(self::NEWS), $this->at(300, 0));
        }
    }

    private function payment(int $userId): void
    {
        $id = ++$this->paymentId;
        $merchant = mt_rand(1, count(self::MERCHANTS));
        $cents = mt_rand(99, 25000);
        $amount = $this->decimal($cents);
        $captured = $this->chance(93);
        // The first shop had no references.
        $reference = $this->chance(90) ? sprintf('FC-%08X', mt_rand()) : null;
        $at = $this->at(390, 0);
        $shared = ['user_id' => $userId, 'merchant_id' => $merchant];
        $this->rows['payments'][] = $shared + [
            'id' => $id, 'amount' => $amount, 'reference' => $reference,
            'status' => $captured ? 'captured' : 'failed',
            'provider_id' => $captured ? sprintf('ch_seed%07d', $id) : null,
        ] + $this->stamps($at);
        $name = self::MERCHANTS[$merchant - 1][0];
        $title = $captured ? "Payment of $amount EUR to $name captured" : "Your payment to $name was declined";
        $this->notification($userId, ['payment', $title, null, ['payment_id' => $id, 'reference' => $reference]], $at);
        if ($captured) {
            $this->balances[$merchant] = ($this->balances[$merchant] ?? 0) + $cents;
            $shared += ['payment_id' => $id, 'created_at' => $at];
            $this->rows['transactions'][] = $shared + ['kind' => 'payment', 'amount' => $amount];
            if ($this->chance(10)) {
                $this->rows['transactions'][] = $shared + ['kind' => 'fee', 'amount' => '0.25'];
            }
        }
    }

    private function notification(int $userId, array $news, string $at): void
    {
        [$type, $title, $body, $data] = $news;
        $id = ++$this->notificationId;
        $read = $this->chance(65) ? $this->later($at) : null;
        $deleted = $this->chance(5) ? $this->later($read ?? $at) : null;
        $mailState = $this->pick(['none', 'sent', 'sent', 'sent', 'skipped', 'none', 'sent', 'failed']);
        $this->rows['notifications'][] = [
            'id' => $id, 'user_id' => $userId, 'type' => $type, 'title' => $title, 'body' => $body,
            'data' => $data === null ? null : json_encode($data, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES),
            'priority' => $this->pick([0, 0, 0, 10, -5]),
            'is_read' => (int) ($read !== null), 'read_at' => $read,
            'mail_state' => $mailState, 'mailed_at' => $mailState === 'sent' ? $at : '0000-00-00 00:00:00',
            'updated_at' => $deleted ?? $read ?? $at, 'deleted_at' => $deleted,
        ] + $this->stamps($at);
        foreach (['read' => $this->chance(40) ? $read : null, 'delete' => $deleted] as $action => $then) {
            if ($then !== null) {
                $this->rows['notification_activity'][] = [
                    'user_id' => $userId, 'notification_id' => $id, 'action' => $action, 'created_at' => $then,
                    'client_ref' => $this->chance(30) ? sprintf('app-3.1/%d', mt_rand()) : null,
                ];
            }
        }
    }

    private function flush(): void
    {
        DB::transaction(function () {
            foreach ($this->rows as $table => $rows) {
                foreach (array_chunk($rows, 500) as $chunk) {
                    DB::table($table)->insert($chunk);
                }
            }
        });
        $this->rows = [];
    }

    private function stamps(string $at): array
    {
        return ['created_at' => $at, 'updated_at' => $at];
    }

    private function decimal(int $cents): string
    {
        return sprintf('%d.%02d', intdiv($cents, 100), $cents % 100);
    }

    private function chance(int $percent): bool
    {
        return mt_rand(1, 100) <= $percent;
    }

    private function pick(array $choices)
    {
        return $choices[mt_rand(0, count($choices) - 1)];
    }

    /** Some time between so many and so few days before the base. */
    private function at(int $most, int $least): string
    {
        return date('Y-m-d H:i:s', $this->now - mt_rand($least * 86400, $most * 86400));
    }

    /** Up to three days later. */
    private function later(string $at): string
    {
        return date('Y-m-d H:i:s', strtotime($at) + mt_rand(60, 3 * 86400));
    }
}
