<?php
# What the tests need beyond the installer's LocalSettings.php. WIKI_ROOT and WIKI_URL come from the environment, so
# that one installed wiki can be served on two ports, plainly and as Fandom would.
$root = getenv( 'WIKI_ROOT' );
$wgServer = getenv( 'WIKI_URL' ) ?: 'http://127.0.0.1';
$wgCanonicalServer = $wgServer;
$wgArticlePath = '/wiki/$1';
$wgUsePathInfo = true;

$wgEnableUploads = true; # else importImages.php refuses
$wgFileExtensions = [ 'png', 'gif', 'jpg', 'jpeg', 'webp', 'svg' ];
$wgStrictFileExtensions = false;
$wgUploadDirectory = "$root/images";
$wgUploadPath = "$wgServer/images";
$wgHashedUploadDirectory = true; # /images/a/ab/Name.png, as on every public wiki
$wgUseImageMagick = false; # the installer turns it on where it finds one; GD is always there
$wgSVGConverter = 'rsvg';

$wgRightsText = 'CC BY-SA 4.0';
$wgRightsUrl = 'https://creativecommons.org/licenses/by-sa/4.0/';

$wgCacheDirectory = "$root/cache"; # localisation in files starts ten times faster than in SQLite
$wgMainCacheType = CACHE_NONE;
$wgSessionCacheType = CACHE_DB;
$wgJobRunRate = 0; # jobs inside web requests would hold SQLite's write lock
$wgEnableEmail = false;
$wgRateLimits = [];

if ( getenv( 'WIKI_LIKE_FANDOM' ) ) {
	# Fandom's file addresses: …/Name.png/revision/latest?cb=<time>
	class FandomLikeFile extends LocalFile {
		public function getUrl() {
			return parent::getUrl() . '/revision/latest?cb=' . wfTimestamp( TS_MW, $this->getTimestamp() );
		}

		public static function newFromTitle( $title, $repo, $unused = null ) {
			return new static( $title, $repo );
		}

		public static function newFromRow( $row, $repo ) {
			$file = new static( Title::makeTitle( NS_FILE, $row->img_name ), $repo );
			$file->loadFromRow( $row );
			return $file;
		}
	}

	class FandomLikeRepo extends LocalRepo {
		protected $fileFactory = [ FandomLikeFile::class, 'newFromTitle' ];
		protected $fileFromRowFactory = [ FandomLikeFile::class, 'newFromRow' ];
	}

	$wgLocalFileRepo = [
		'class' => FandomLikeRepo::class, 'name' => 'local', 'directory' => $wgUploadDirectory,
		'url' => $wgUploadPath, 'scriptDirUrl' => $wgScriptPath, 'hashLevels' => 2, 'thumbScriptUrl' => false,
		'transformVia404' => false, 'deletedDir' => "$wgUploadDirectory/deleted", 'deletedHashLevels' => 3,
		'backend' => 'local-backend', 'useJsonMetadata' => true, 'useSplitMetadata' => true,
	];
	# Lazy-loaded galleries: a placeholder in src, the address in data-src
	$wgHooks['ThumbnailBeforeProduceHTML'][] = static function ( $thumb, &$attributes, &$link ) {
		$attributes['data-src'] = $attributes['src'];
		$attributes['src'] = 'data:image/gif;base64,R0lGODlhAQABAIABAAAAAP///yH5BAEAAAEALAAAAAABAAEAQAICTAEAOw%3D%3D';
	};
}
