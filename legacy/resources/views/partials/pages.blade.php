@if ($last > 1)
<div class="pages">
    <span>@if ($number > 1)<a href="?{{ http_build_query(['page' => $number - 1] + request()->query()) }}">← Newer</a>@endif</span>
    <span class="soft">Page {{ $number }} of {{ $last }}</span>
    <span>@if ($number < $last)<a href="?{{ http_build_query(['page' => $number + 1] + request()->query()) }}">Older →</a>@endif</span>
</div>
@endif
