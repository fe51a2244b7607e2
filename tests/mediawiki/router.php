<?php
# For `php -S`: short addresses, uploads from the wiki's own folder, robots.txt, and Fandom's WebP instead of originals.
$root = getenv( 'WIKI_ROOT' );
$mediawiki = $_SERVER['DOCUMENT_ROOT'];
$path = rawurldecode( parse_url( $_SERVER['REQUEST_URI'], PHP_URL_PATH ) );

if ( $path === '/robots.txt' ) {
	header( 'Content-Type: text/plain' );
	echo "User-agent: *\nDisallow: /wiki/Special:\n";
	return true;
}

if ( strpos( $path, '/images/' ) === 0 ) {
	$fandom = preg_match( '~^(.*)/revision/latest$~', $path, $match );
	$file = realpath( $root . ( $fandom ? $match[1] : $path ) );
	if ( !$file || strpos( $file, realpath( "$root/images" ) . '/' ) !== 0 || !is_file( $file ) ) {
		http_response_code( 404 );
		return true;
	}
	$body = file_get_contents( $file );
	$type = mime_content_type( $file );
	if ( $fandom && ( $_GET['format'] ?? '' ) !== 'original' && ( $image = @imagecreatefromstring( $body ) ) ) {
		imagepalettetotruecolor( $image );
		imagesavealpha( $image, true );
		ob_start();
		imagewebp( $image, null, 80 );
		$body = ob_get_clean();
		$type = 'image/webp';
	}
	header( "Content-Type: $type" );
	header( 'Content-Length: ' . strlen( $body ) );
	echo $body;
	return true;
}

chdir( $mediawiki );
if ( $path === '/' || strpos( $path, '/wiki/' ) === 0 ) {
	$_SERVER['SCRIPT_NAME'] = $_SERVER['PHP_SELF'] = '/index.php';
	$_SERVER['SCRIPT_FILENAME'] = "$mediawiki/index.php";
	require "$mediawiki/index.php";
	return true;
}
return false; # api.php, load.php, resources, skins
