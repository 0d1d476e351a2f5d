<?php

// Laravel comes from Debian (php-laravel-framework), so there is no vendor/autoload.php.
// 8.83 uses what PHP 8.2 calls deprecated: silenced before its first class is loaded.
error_reporting(E_ALL & ~E_DEPRECATED & ~E_USER_DEPRECATED);

$library = dirname(stream_resolve_include_path('Illuminate/autoload.php'), 2);

// Debian's Illuminate/autoload.php loads 79 files of class maps and asks them one after the other, which took
// a third of every request. Most classes are where their name says; the rest still goes the long way, but for
// two that Laravel and Carbon look for and Debian does not have.
$absent = ['Doctrine\\DBAL\\Driver\\PDOConnection', 'Symfony\\Component\\Translation\\TranslatorInterface'];

spl_autoload_register(function ($class) use ($library, $absent) {
    $path = str_replace('\\', '/', $class).'.php';
    if (strncmp($class, 'App\\', 4) === 0) {
        $files = [__DIR__.'/../app/'.substr($path, 4)];
    } else {
        // The package has Illuminate\Support in three folders.
        $files = [$library.'/'.$path];
        foreach (strncmp($class, 'Illuminate\\Support\\', 19) === 0 ? ['Collections', 'Macroable'] : [] as $folder) {
            $files[] = $library.'/Illuminate/'.$folder.'/'.substr($path, 19);
        }
    }
    foreach ($files as $file) {
        if (is_file($file)) {
            require $file;

            return;
        }
    }
    if (! in_array($class, $absent, true)) {
        require_once 'Illuminate/autoload.php';
    }
});

require_once $library.'/Symfony/Contracts/Deprecation/function.php';
foreach (['Collections/helpers', 'Support/helpers', 'Events/functions', 'Foundation/helpers'] as $functions) {
    require_once $library.'/Illuminate/'.$functions.'.php';
}
