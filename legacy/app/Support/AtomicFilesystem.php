<?php

namespace App\Support;

use Illuminate\Filesystem\Filesystem;

/** Two workers that compiled the same view at once have served half a page. */
class AtomicFilesystem extends Filesystem
{
    public function put($path, $contents, $lock = false)
    {
        $this->replace($path, $contents);

        return strlen($contents);
    }
}
